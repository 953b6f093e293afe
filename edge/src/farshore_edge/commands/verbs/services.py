"""``services``: systemd's units, by systemctl; a clear ``unsupported`` where no systemd runs."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import ServicesArgs
from farshore_protocol.commands.catalogue.programs import ServicesResult

from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.commands.verbs.model import Context, Handler, Outcome
from farshore_edge.config.handlers.services import SYSTEMCTL, booted
from farshore_edge.config.model import Ended
from farshore_edge.config.programs import HostPrograms

LIST_BYTES = 512 * 1024
LIST_MOST = 400
"""So many fit into a result; what is not running is left out first."""
_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,Description,UnitFileState,MainPID,NRestarts,MemoryCurrent,"
    "ActiveEnterTimestamp"
)
_NO_UNIT_CODE = 5
"""Of systemctl: the unit is not there."""


def services(
    *,
    systemctl: str = SYSTEMCTL,
    runs: Callable[[], bool] = booted,
    guard: Guard | None = None,
) -> Handler:
    """``runs``: whether there is a systemd to talk to."""

    async def handle(args: ServicesArgs, context: Context) -> Outcome:
        if not runs():
            return _failed("unsupported", "no systemd runs on this machine")

        async def call(*words: str) -> Ended:
            return await HostPrograms(guard, context.command_id).run(
                [systemctl, "--no-pager", *words],
                timeout_s=context.timeout_s,
                env={"LC_ALL": "C", "SYSTEMD_COLORS": "0"},
                output_bytes=LIST_BYTES,
            )

        try:
            if args.unit is None:
                return await _list(call)
            return await _one(call, args.action, _service(args.unit))
        except OSError as exc:
            return _failed("unsupported", f"{systemctl}: {exc.strerror}")

    return handle


def _service(unit: str) -> str:
    return unit if "." in unit.rpartition("@")[2] else f"{unit}.service"


async def _list(call: Any) -> Outcome:
    ended = await call("list-units", "--type=service", "--all", "--plain", "--no-legend", "--full")
    if ended.code != 0:
        return _unable("list-units", ended)
    return _outcome(listed(ended.output))


def listed(text: str) -> list[dict[str, Any]]:
    """The lines of ``systemctl list-units --plain --no-legend``; those that are loaded and active first."""
    rows = []
    for line in text.splitlines():
        words = line.strip().lstrip("●* ").split(None, 4)
        if len(words) >= 4:
            keys = ("unit", "load", "active", "sub", "description")
            rows.append(dict(zip(keys, [*words, ""][:5], strict=True)))
    rows.sort(key=lambda row: (row["active"] == "inactive", row["load"] != "loaded", row["unit"]))
    return rows[:LIST_MOST]


async def _one(call: Any, action: str, unit: str) -> Outcome:
    if action != "status":
        ended = await call(action, "--", unit)
        if ended.code != 0:
            return _unable(f"{action} {unit}", ended)
    ended = await call("show", f"--property={_PROPERTIES}", "--", unit)
    if ended.code != 0:
        return _unable(f"show {unit}", ended)
    row = shown(ended.output)
    if row["load"] == "not-found":
        return _failed("not_found", f"{unit}: systemd knows no such unit")
    return _outcome([row])


def shown(text: str) -> dict[str, Any]:
    """The lines of ``systemctl show``."""
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {
        "unit": found.get("Id", ""),
        "load": found.get("LoadState", ""),
        "active": found.get("ActiveState", ""),
        "sub": found.get("SubState", ""),
        "description": found.get("Description", ""),
        "enabled": found.get("UnitFileState") or None,
        "pid": _number(found.get("MainPID")) or None,
        "restarts": _number(found.get("NRestarts")),
        "memory_bytes": _number(found.get("MemoryCurrent")),
        "since": found.get("ActiveEnterTimestamp") or None,
    }


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and int(text) < 2**63 else None


def _outcome(rows: Sequence[dict[str, Any]]) -> Outcome:
    return Outcome(result=asdict(ServicesResult(services=list(rows))))


def _unable(what: str, ended: Ended) -> Outcome:
    if ended.code is None:
        error = CommandError(code="timed_out", message=f"systemctl {what} took too long")
        return Outcome(state="timed_out", error=error)
    code = "not_found" if ended.code == _NO_UNIT_CODE else "exit"
    words = ended.output.strip() or f"exit code {ended.code}"
    return _failed(code, f"systemctl {what}: {words[-800:]}")


def _failed(code: str, message: str) -> Outcome:
    return Outcome(state="failed", error=CommandError(code=code, message=message))
