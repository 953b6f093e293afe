"""Soaks with real processes: kill them again and again, then check the books. ``python -m soak``.

It belongs to no package: nobody who installs Farshore needs it. Seeded worlds under a virtual clock
are ``farshore_sim.world``; what a soak promises and what it found stands in docs/guarantees.md.
"""
