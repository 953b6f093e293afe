"""How well and how fast tasks are placed, on a trace of a real cluster: ``python -m bench.placement``."""
