"""Many real agents in one process, each on simulated hardware."""

from farshore_sim.fleet.fleet import Fleet, FleetSettings

__all__ = ["Fleet", "FleetSettings"]
