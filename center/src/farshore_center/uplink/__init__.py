"""How the center reaches its nodes: through the embedded broker, or through an external one.

Both give the same two things: messages of nodes go to ``Intake.take``, and ``send`` publishes.
"""

from farshore_center.uplink.embedded import EmbeddedUplink
from farshore_center.uplink.external import ExternalTiming, ExternalUplink
from farshore_center.uplink.model import State, Take, Uplink, center_state

__all__ = [
    "EmbeddedUplink",
    "ExternalTiming",
    "ExternalUplink",
    "State",
    "Take",
    "Uplink",
    "center_state",
]
