"""Made-up machines for simulated nodes: the telemetry and the facts of hardware that isn't there.

The same series and the same tree of facts as from a real host, computed from a seed and the time.
Faults, links and firmware are simulated elsewhere.
"""

from farshore_sim.hardware.machine import SimulatedHardware

__all__ = ["SimulatedHardware"]
