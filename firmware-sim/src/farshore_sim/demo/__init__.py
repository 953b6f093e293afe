"""The demonstration: one command, a fleet on this machine, and only what is true is told."""

from farshore_sim.demo.play import DemoSettings, play

__all__ = ["DemoSettings", "play"]
