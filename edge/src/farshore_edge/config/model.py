"""What the parts of the node's configuration hand each other: changes, sites, and the contracts.

A handler (entry point group ``farshore.config_handlers``) brings one document about. It decides by
looking (``plan``): each ``Change`` holds what should be and what was before, as plain JSON, and goes
into the journal. So any change can be undone by another process than the one that made it.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from farshore_protocol.config.messages import ConfigError, Difference, Override

from farshore_edge.errors import ConfigurationError

TEXT_CHARS = 200
"""Of what is expected and found, in a difference."""


def shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of a document that is not as it should be.

    ``name``: what it is called for others (a path, a package), ``path`` points to it in the
    configuration. ``late``: comes after all that are not, both on the way there and on the way back
    (a restart, a signal). ``content`` is handed to ``stage`` and is not journaled.
    """

    document: str
    name: str
    path: str
    expected: str
    found: str
    want: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    late: bool = False
    content: bytes | None = None

    @property
    def difference(self) -> Difference:
        return Difference(path=self.path, expected=shown(self.expected), found=shown(self.found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What templates may name; ``facts`` is asked only where one does. ``changed``: names of what
    the handlers before have planned to change."""

    node: str
    group: str
    labels: Mapping[str, str]
    facts: Callable[[], dict[str, Any]]
    changed: Collection[str] = ()


class ConfigHandler(Protocol):
    """``kind``: the document's type, for msgspec. ``order``: lower ones go first (packages 10, files
    20, app 30, others 50, services 70, agent 90). ``volatile``: what it sets ends with the agent.

    Each method raises ConfigurationError for what can't be, or OSError. ``undo`` and ``discard`` come
    to the same result however often they are called, and also for what was never applied.
    """

    document: str
    kind: Any
    order: int
    volatile: bool

    def paths(self, document: Any) -> Sequence[str]:
        """Files whose change is worth a look at once."""
        ...

    async def plan(self, document: Any, site: Site) -> Sequence[Change]:
        """Checks the document in itself and against this machine, and looks; changes nothing."""
        ...

    async def stage(self, change: Change) -> None:
        """Prepares all that can fail, and keeps what will be overwritten; nothing takes effect."""
        ...

    async def apply(self, change: Change) -> None: ...

    async def undo(self, change: Change) -> None:
        """Back to ``change.before``."""
        ...

    async def discard(self, change: Change, *, kept: bool) -> None:
        """Removes what ``stage`` has prepared; ``kept``: the change is in effect and stays."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended: ``code`` None if it did not in time, ``output`` its last words."""

    code: int | None
    output: str


class Programs(Protocol):
    async def run(
        self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None
    ) -> Ended:
        """Raises OSError for what can't be started."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerTools:
    """What a handler is made with. ``data``: the agent's folder for configurations. ``may_run``:
    whether a configuration may have programs run, told or installed here."""

    node: str
    data: Path
    roots: tuple[Path, ...]
    programs: Programs
    may_run: bool = False

    def check_may_run(self, path: str) -> None:
        """Raises ConfigurationError ``not_permitted`` where a configuration may not."""
        if not self.may_run:
            message = "this node runs no programs for configurations (setting config_programs)"
            raise ConfigurationError("not_permitted", message, path)


HandlerFactory = Callable[[HandlerTools], ConfigHandler]
"""What an entry point names."""


# The journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A configuration with what belongs to it; ``digest`` is of the desired one, without override."""

    rev: int
    digest: str
    group: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    override: Override | None = None

    def same(self, other: "Version | None") -> bool:
        """Whether the other one has the same effect."""
        return other is not None and self.identity == other.identity

    @property
    def identity(self) -> tuple[object, ...]:
        patch = None if self.override is None else self.override.config
        return self.digest, self.group, self.labels, patch


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A transaction under way, as the journal has it; ``state`` is one of ``NODE_CONFIG``.

    ``repair``: brings what runs back to what it should be, and is never undone. ``notice``: the event
    to be told once it is applied. A final attempt stays until what there is to tell is durable.
    """

    version: Version
    state: str = "received"
    changes: tuple[Change, ...] = ()
    error: ConfigError | None = None
    repair: bool = False
    notice: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A version that is not tried again by itself, and what is answered instead."""

    version: Version
    state: str
    error: ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that the node keeps of its configuration but the configurations themselves.

    ``running``: the last good one. ``desired``: the newest that the center has told, without
    override. ``died``: how often the agent died with an attempt at that version.
    """

    running: Version | None = None
    desired: Version | None = None
    attempt: Attempt | None = None
    failures: tuple[Failure, ...] = ()
    died: int = 0
    died_with: Version | None = None


class Store(Protocol):
    """Keeps the state and, by digest, the configurations that it names."""

    def load(self) -> State: ...

    async def save(self, state: State) -> None:
        """Durable when it returns, whole or not at all. Raises OSError."""
        ...

    def config(self, digest: str) -> dict[str, Any] | None: ...

    async def keep(self, digest: str, config: dict[str, Any]) -> None:
        """Durable when it returns. Raises OSError."""
        ...

    async def forget_but(self, digests: Collection[str]) -> None: ...


Tell = Callable[[str, str, dict[str, Any]], Awaitable[object]]
"""(stream, path, body): a record for the center."""
