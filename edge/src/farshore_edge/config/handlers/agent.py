"""``agent``: the agent's own settings that may change while it runs; they last as long as it does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from farshore_protocol.config.documents import DOCUMENTS, AgentDocument

from farshore_edge.config.model import Change, Site


class AgentSettings:
    """``started_with``: the settings of this start, for all that the document leaves open.
    ``change``: brings a setting about at once."""

    document = "agent"
    kind = DOCUMENTS["agent"]
    order = 90
    volatile = True

    def __init__(
        self, started_with: Mapping[str, Any], change: Mapping[str, Callable[[Any], None]]
    ) -> None:
        self._started_with = dict(started_with)
        self._change = change
        self._set: dict[str, Any] = {}

    def paths(self, document: AgentDocument) -> Sequence[str]:  # noqa: ARG002 # the contract
        return ()

    async def plan(self, document: AgentDocument, site: Site) -> Sequence[Change]:  # noqa: ARG002 # the contract
        wanted = {key: value for key, value in asdict(document).items() if value is not None}
        return [
            Change(
                document=self.document,
                name=key,
                path=f"/{self.document}/{key}",
                expected=str(wanted.get(key, f"{self._started_with[key]} (as started)")),
                found=str(self._set.get(key, f"{self._started_with[key]} (as started)")),
                want={"value": wanted.get(key)},
                before={"value": self._set.get(key)},
            )
            for key in self._started_with
            if wanted.get(key) != self._set.get(key)
        ]

    async def stage(self, change: Change) -> None:
        """Nothing to prepare."""

    async def apply(self, change: Change) -> None:
        self._bring(change.name, change.want["value"])

    async def undo(self, change: Change) -> None:
        self._bring(change.name, change.before["value"])

    def _bring(self, key: str, value: Any) -> None:
        if value is None:
            self._set.pop(key, None)
        else:
            self._set[key] = value
        self._change[key](self._started_with[key] if value is None else value)

    async def discard(self, change: Change, *, kept: bool) -> None:
        """Nothing was prepared."""
