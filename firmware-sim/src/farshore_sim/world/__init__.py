"""A deterministic world: real agents and the real center in one process, on virtual time.

The one part of the simulator that imports the center (the extra ``world``). A seed draws a plan of
faults; the same plan always runs the same way, to the byte; invariants are checked all along.
"""
