"""Simulated nodes for Farshore: the real agent on simulated hardware, faults, and the demonstration.

But for ``world`` it never imports the center: what it needs of one, it starts as a process and
asks over its API.
"""
