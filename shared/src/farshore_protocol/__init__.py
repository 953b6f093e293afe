"""What Farshore's edge nodes and center must agree on.

Topics, messages, the reliable stream (without I/O), the command lifecycle, clock and ids, and the
MQTT link. It knows neither the agent nor the center and holds nothing that only one of them needs.
"""

from farshore_protocol.version import PROTOCOL

__all__ = ["PROTOCOL"]
