"""The protocol's version: one integer, with a dated line of history for every bump.

The center serves nodes of the current and of the previous version.

- 1 (2026-11): presence, birth, heartbeat, time exchange, four reliable streams with range
  acknowledgements, unsigned commands.
"""

PROTOCOL = 1
