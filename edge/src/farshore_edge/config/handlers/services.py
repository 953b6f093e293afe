"""``services``: systemd units, by systemctl; a clear ``unsupported`` where no systemd runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from farshore_protocol.config.documents import DOCUMENTS, ServiceDocument
from farshore_protocol.config.pointer import pointer

from farshore_edge.config.model import Change, HandlerTools, Site
from farshore_edge.errors import ConfigurationError

SYSTEMCTL = "systemctl"
TIMEOUT_S = 90.0
RELOADS = "daemon-reload"


def booted() -> bool:
    """Whether systemd runs this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


class Services:
    document = "services"
    kind = DOCUMENTS["services"]
    order = 70
    volatile = False

    def __init__(
        self,
        tools: HandlerTools,
        *,
        systemctl: str = SYSTEMCTL,
        runs: Callable[[], bool] = booted,
    ) -> None:
        """``runs``: whether there is a systemd to talk to."""
        self._tools = tools
        self._programs = tools.programs
        self._systemctl = systemctl
        self._runs = runs

    def paths(self, document: dict[str, ServiceDocument]) -> Sequence[str]:  # noqa: ARG002 # the contract
        return ()

    async def plan(self, document: dict[str, ServiceDocument], site: Site) -> Sequence[Change]:
        if document:
            self._tools.check_may_run(pointer((self.document,)))
        if document and not self._runs():
            message = "no systemd runs on this machine"
            raise ConfigurationError("unsupported", message, pointer((self.document,)))
        changes = []
        for unit, entry in document.items():
            at = pointer((self.document, unit))
            if unit.startswith("-"):
                raise ConfigurationError("bad_document", f"{unit}: is no name of a unit", at)
            changes += await self._plan_unit(unit, entry, at, site)
        return changes

    async def _plan_unit(
        self, unit: str, entry: ServiceDocument, at: str, site: Site
    ) -> list[Change]:
        before = await self._state(unit)
        want = {
            key: value
            for key, value in (("enabled", entry.enabled), ("running", entry.running))
            if value is not None and value != before[key]
        }
        changes = []
        if want:
            changes.append(
                Change(
                    document=self.document,
                    name=unit,
                    path=at,
                    expected=_words(want),
                    found=_words({key: before[key] for key in want}),
                    want=want,
                    before=before,
                )
            )
        touched = sorted(set(entry.restart_on) & set(site.changed))
        if touched and before["running"] and want.get("running") is not False:
            changes.append(
                Change(
                    document=self.document,
                    name=unit,
                    path=f"{at}/restart_on",
                    expected="restarted after " + ", ".join(touched),
                    found="running with what was before",
                    late=True,
                )
            )
        return changes

    async def _state(self, unit: str) -> dict[str, bool]:
        return {
            "enabled": await self._is("is-enabled", unit, {"enabled", "enabled-runtime"}),
            "running": await self._is("is-active", unit, {"active", "activating", "reloading"}),
        }

    async def _is(self, question: str, unit: str, yes: set[str]) -> bool:
        ended = await self._programs.run(
            [self._systemctl, question, "--", unit], timeout_s=TIMEOUT_S
        )
        return ended.output.strip() in yes

    async def stage(self, change: Change) -> None:
        """Nothing can be prepared: a unit file may come with this very configuration."""

    async def apply(self, change: Change) -> None:
        await self._do(RELOADS, None, change)
        if change.late:
            await self._do("restart", change.name, change)
        else:
            await self._bring(change, change.want)

    async def undo(self, change: Change) -> None:
        if change.late:
            await self._do(RELOADS, None, change)
            await self._do("restart", change.name, change)
        else:
            # What is as it was is left alone: a unit that does not exist can't even be stopped.
            now = await self._state(change.name)
            back = {key: change.before[key] for key in change.want}
            await self._bring(change, {k: was for k, was in back.items() if now[k] != was})

    async def _bring(self, change: Change, state: dict[str, Any]) -> None:
        if "enabled" in state:
            await self._do("enable" if state["enabled"] else "disable", change.name, change)
        if "running" in state:
            await self._do("start" if state["running"] else "stop", change.name, change)

    async def _do(self, what: str, unit: str | None, change: Change) -> None:
        argv = [self._systemctl, what, *(() if unit is None else ("--", unit))]
        ended = await self._programs.run(argv, timeout_s=TIMEOUT_S)
        if ended.code != 0:
            how = "no end in time" if ended.code is None else f"exit code {ended.code}"
            message = f"systemctl {what} {unit or ''}: {how}: {ended.output.strip()}"
            raise ConfigurationError("service_failed", message, change.path)

    async def discard(self, change: Change, *, kept: bool) -> None:
        """Nothing was prepared."""


def _words(state: dict[str, Any]) -> str:
    words = {"enabled": ("disabled", "enabled"), "running": ("stopped", "running")}
    return ", ".join(words[key][bool(value)] for key, value in sorted(state.items()))


def make(tools: HandlerTools) -> Any:
    return Services(tools)
