"""One simulated machine: picks its profile and gives out its collectors and facts.

Nothing runs: values are computed when they are asked for, so a machine that is not sampled costs
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farshore_edge.telemetry.collectors.model import Collector

from farshore_sim.errors import SimError
from farshore_sim.hardware.collectors import Machine, simulated_collectors
from farshore_sim.hardware.facts import simulated_facts
from farshore_sim.hardware.profiles import PROFILES
from farshore_sim.hardware.signals import Rhythm, quantised, seed_of

_UNIT = 2.0**-64


class UnknownProfileError(SimError):
    """A profile was asked for that is not in the table."""


class SimulatedHardware:
    """The hardware of one node.

    Each value is a function of node, seed, profile, boot and time: two machines that agree in
    them agree to the byte. Without a profile, the seed picks one. `boot_s` is when the machine
    came up: counters start there, and a reboot is a new object with another one.
    """

    def __init__(
        self,
        *,
        node: str,
        seed: int,
        now_s: Callable[[], float],
        profile: str | None = None,
        boot_s: float | None = None,
    ) -> None:
        own_seed = seed_of(seed, node)
        if profile is None:
            names = sorted(PROFILES)
            profile = names[seed_of(own_seed, "profile") % len(names)]
        if profile not in PROFILES:
            known = ", ".join(sorted(PROFILES))
            raise UnknownProfileError(f"unknown hardware profile {profile!r}; known: {known}")
        self._node = node
        self._profile_name = profile
        chosen = PROFILES[profile]
        offset = seed_of(own_seed, "offset") * _UNIT
        # A daily wave peaks in the afternoon, give or take; a battery's cycle starts anywhere.
        jitter = seed_of(own_seed, "phase") * _UNIT
        phase = jitter if chosen.battery is not None else 0.68 + 0.12 * (jitter - 0.5)
        self._machine = Machine(
            profile=chosen,
            seed=own_seed,
            offset=offset,
            phase=phase,
            rhythm=Rhythm(chosen.load, offset=offset, phase=phase),
            gpu_rhythms=tuple(
                Rhythm(gpu.load, offset=(offset + 0.03 * index) % 1.0, phase=phase)
                for index, gpu in enumerate(chosen.gpus)
            ),
            boot_s=quantised(now_s() if boot_s is None else boot_s),
            now_s=now_s,
        )

    @property
    def profile(self) -> str:
        """The name of the profile."""
        return self._profile_name

    def collectors(self) -> tuple[Collector, ...]:
        return simulated_collectors(self._machine)

    def facts(self) -> dict[str, Any]:
        return simulated_facts(
            profile=self._machine.profile,
            node=self._node,
            seed=self._machine.seed,
            boot_s=self._machine.boot_s,
        )
