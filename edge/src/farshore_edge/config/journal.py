"""The state in memory as it is on disk: no step is taken before it is written down."""

from dataclasses import replace
from typing import Any

from farshore_protocol.config.layers import merge
from farshore_protocol.config.lifecycle import NODE_CONFIG
from farshore_protocol.config.messages import ConfigError, Override

from farshore_edge.config.model import Attempt, Change, Failure, Store, Version

FAILURES = 16
"""Versions that are remembered not to work; the oldest is forgotten first."""


class Journal:
    """Raises OSError when the state can't be written; it is then what it was before."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.state = store.load()

    async def put(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        await self.store.save(state)
        self.state = state

    @property
    def attempt(self) -> Attempt:
        if self.state.attempt is None:
            raise RuntimeError("no transaction is under way")
        return self.state.attempt

    async def begin(self, version: Version, notice: dict[str, Any] | None) -> None:
        await self.put(attempt=Attempt(version=version, notice=notice))

    async def move(
        self,
        new: str,
        *,
        changes: tuple[Change, ...] | None = None,
        error: ConfigError | None = None,
        **state: Any,
    ) -> None:
        """The attempt's next state, durable when it returns, together with others of ``state``."""
        attempt = self.attempt
        NODE_CONFIG.check(attempt.state, new)
        attempt = replace(attempt, state=new, error=error)
        if changes is not None:
            attempt = replace(attempt, changes=changes)
        await self.put(attempt=attempt, **state)

    def failure(self, version: Version) -> Failure | None:
        return next((each for each in self.state.failures if each.version.same(version)), None)

    def failures_with(self, failure: Failure) -> tuple[Failure, ...]:
        return (*self.failures_without(failure.version), failure)[-FAILURES:]

    def failures_without(self, version: Version) -> tuple[Failure, ...]:
        return tuple(each for each in self.state.failures if not each.version.same(version))

    async def settle(self, **changes: Any) -> None:
        """The attempt is over, told, and has left nothing behind; what no one names is forgotten."""
        await self.put(attempt=None, **changes)
        named = (self.state.running, self.state.desired)
        await self.store.forget_but({each.digest for each in named if each is not None})

    # What follows from the state

    @property
    def override(self) -> Override | None:
        return None if self.state.running is None else self.state.running.override

    def target(self) -> Version | None:
        """What should run: the desired one, under the override."""
        desired = self.state.desired
        return None if desired is None else replace(desired, override=self.override)

    def effective(self, version: Version) -> dict[str, Any] | None:
        """The version's configuration with its override; None where it is lost."""
        config = self.store.config(version.digest)
        if config is None or version.override is None:
            return config
        merged: dict[str, Any] = merge(config, version.override.config)
        return merged
