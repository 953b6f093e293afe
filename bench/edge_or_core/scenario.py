"""What is asked for: sites with their links, kinds of work, jobs of a kind with their data. Pure.

Sizes are drawn around the one at which both sides take equally long: most jobs are clearly better off on one
side, some are close, which is where a wrong estimate shows.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

CORE = "core-1"
CORES = (CORE, "core-2", "core-3")
SLOWNESS = 4
"""So many times as long as in the core computes a node of the edge."""
MOST_MOVED_S = 3.0
LITTLE_BYTES = 64_000
"""Of what is run before anything counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A node of the edge behind a link: bytes a second each way, and one way's delay."""

    node: str
    up_bytes_s: float
    down_bytes_s: float
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Work that takes ``core_s`` seconds in the core; the task's name."""

    name: str
    core_s: float

    @property
    def saved_s(self) -> float:
        """What the core saves: as much time as the data's way may take there."""
        return (SLOWNESS - 1) * self.core_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work of a kind over so many bytes at a site."""

    number: int
    kind: Kind
    site: Site
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``earlier``: from which the center learns how long a kind runs on each side, before anything counts.
    ``rounds``: how often each job is run on each side on purpose. ``burst``: comes ``burst_count`` times at
    once, at the end."""

    sites: tuple[Site, ...]
    kinds: tuple[Kind, ...]
    earlier: tuple[Job, ...]
    jobs: tuple[Job, ...]
    rounds: int
    burst: Job
    burst_count: int


SITES = (
    Site(node="cam-a", up_bytes_s=400_000, down_bytes_s=1_600_000, delay_s=0.03),
    Site(node="cam-b", up_bytes_s=1_000_000, down_bytes_s=4_000_000, delay_s=0.015),
    Site(node="cam-c", up_bytes_s=2_000_000, down_bytes_s=8_000_000, delay_s=0.005),
)
KINDS = tuple(
    Kind(name=name, core_s=core_s)
    for name, core_s in (("count", 0.08), ("detect", 0.15), ("track", 0.25), ("encode", 0.4))
)


def whole(seed: int, jobs_of_a_kind: int = 9) -> Scenario:
    rng = random.Random(seed)  # noqa: S311 - replayable, not secret
    found: list[Job] = []
    for kind in KINDS:
        for at in range(jobs_of_a_kind):
            site = SITES[(at + len(found)) % len(SITES)]
            # Even steps with some noise, so that few jobs cover the whole range.
            part = (at + rng.random()) / jobs_of_a_kind
            found.append(job(len(found), kind, site, between(0.12, 6.0, part)))
    rng.shuffle(found)
    return Scenario(
        sites=SITES,
        kinds=KINDS,
        earlier=earlier(KINDS, SITES),
        jobs=tuple(found),
        rounds=2,
        burst=burst(core_s=0.75, moved_s=12.0),
        burst_count=6,
    )


def quick() -> Scenario:
    """Two kinds at one site, far from where both sides are equal."""
    kinds, sites = KINDS[2:], SITES[1:2]
    jobs = [job(0, kinds[0], sites[0], 0.1), job(1, kinds[0], sites[0], 4.0)]
    jobs += [job(2, kinds[1], sites[0], 0.1)]
    return Scenario(
        sites=sites,
        kinds=kinds,
        earlier=earlier(kinds, sites),
        jobs=tuple(jobs),
        rounds=1,
        burst=burst(core_s=0.3, moved_s=6.0),
        burst_count=2,
    )


def burst(*, core_s: float, moved_s: float) -> Job:
    """Whose data takes so long on its way to the core."""
    kind, site = Kind(name="burst", core_s=core_s), SITES[1]
    return Job(number=0, kind=kind, site=site, size_bytes=round(moved_s * site.up_bytes_s))


def job(number: int, kind: Kind, site: Site, share: float) -> Job:
    """Whose data takes this share of what the core saves on its way."""
    moved_s = min(kind.saved_s * share, MOST_MOVED_S)
    return Job(number=number, kind=kind, site=site, size_bytes=round(moved_s * site.up_bytes_s))


def earlier(kinds: Sequence[Kind], sites: Sequence[Site]) -> tuple[Job, ...]:
    """One job of each kind with little data, at one site after the other."""
    return tuple(
        Job(number=-1 - at, kind=kind, site=sites[at % len(sites)], size_bytes=LITTLE_BYTES)
        for at, kind in enumerate(kinds)
    )


def between(low: float, high: float, part: float) -> float:
    """Of a range in which every doubling is as wide as another."""
    return math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
