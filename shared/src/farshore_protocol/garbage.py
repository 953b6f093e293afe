"""How Python's garbage collector is set in a program that runs for months: it looks rarely, and not at
what lives as long as the program.

Reference counts free nearly everything here; the collector is only for cycles. At its defaults it
walks over all that a center keeps of a thousand nodes every few seconds, which stops the whole center
for a tenth of a second and more. A cycle that dies young is still found soon, among the `young` newest
objects; the rest is looked through some `MIDDLE` × `OLD` times more rarely.
"""

import gc

YOUNG = 20_000
"""New containers that are not freed yet, at which they are looked through; Python's default is 700."""

YOUNG_AT_NODE = 5_000
"""Less, where memory is dear: a megabyte of garbage at most."""

MIDDLE = 20
OLD = 100
"""So many collections of the generation before; Python's default is 10."""


def starting() -> None:
    """Before anything large is imported: nothing of it is garbage, and to look for some again and again
    while it grows takes a tenth of a center's start. ``settle`` ends it."""
    gc.disable()


def settle(young: int = YOUNG) -> None:
    """Once, when everything is imported and started: what is there now is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, MIDDLE, OLD)
    gc.enable()
