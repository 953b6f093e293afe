"""The outbox: what the node has to say, kept until the center has it."""

from farshore_edge.outbox.courier import Courier, Uplink
from farshore_edge.outbox.outbox import Outbox, Timing

__all__ = ["Courier", "Outbox", "Timing", "Uplink"]
