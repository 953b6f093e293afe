"""The demonstration: one command, a fleet on this machine, and only what is true is told."""

from farshore_sim.demo.play import play
from farshore_sim.demo.stage import DemoSettings

__all__ = ["DemoSettings", "play"]
