"""``diagnose``: all that support asks for, in one document. Each section stands for itself.

A section that can't be found out says why, and takes none of the others along: that is when the
document is needed. Nothing of it is written to the disk. Secrets are taken out of all of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from farshore_protocol.codec import encode
from farshore_protocol.commands.catalogue import DiagnoseArgs
from farshore_protocol.commands.catalogue.upkeep import DiagnoseResult

from farshore_edge.commands.verbs.model import Context, Handler, Outcome
from farshore_edge.errors import DatabaseError
from farshore_edge.redact import Redactor

LogLines = Callable[[], list[str]]
"""The agent's last lines of log, the oldest first."""
Section = Callable[[DiagnoseArgs], Awaitable[Any]]

DOCUMENT_BYTES = 88 * 1024
"""Of the whole as JSON; a result has room for 92 KB."""
SECTION_BYTES = 24 * 1024
SECTION_S = 8.0


def no_lines() -> list[str]:
    return []


def diagnose(
    sections: Mapping[str, Section],
    log_lines: LogLines,
    *,
    node: str,
    agent_version: str,
    now_ms: Callable[[], int],
    section_s: float = SECTION_S,
) -> Handler:
    async def handle(args: DiagnoseArgs, _context: Context) -> Outcome:
        redactor = Redactor()
        told = await asyncio.gather(
            *(_section(work, args, section_s) for work in sections.values())
        )
        found = {
            name: _fitting(redactor.document(section))
            for name, section in zip(sections, told, strict=True)
        }
        lines = [redactor.text(line) for line in log_lines()[-args.lines :] if args.lines]
        result = DiagnoseResult(
            node=node,
            agent_version=agent_version,
            at=now_ms(),
            sections=found,
            log=[],
        )
        room = DOCUMENT_BYTES - len(encode(result))
        log = _newest(lines, room)
        return Outcome(
            result={
                **asdict(result),
                "log": log,
                "log_cut_lines": len(lines) - len(log),
                "redacted": redactor.count,
            }
        )

    return handle


async def _section(work: Section, args: DiagnoseArgs, most_s: float) -> Any:
    try:
        async with asyncio.timeout(most_s):
            return await work(args)
    except TimeoutError:
        return {"error": f"not found out within {most_s:g} s"}
    except DatabaseError as exc:
        return {"error": str(exc)}
    except Exception as exc:  # whatever is broken, the rest is told
        return {"error": f"{type(exc).__name__}: {exc}"}


def _fitting(section: Any) -> Any:
    """A section that is too large loses its largest parts, and says so."""
    if len(encode(section)) <= SECTION_BYTES:
        return section
    if isinstance(section, list):
        first = list(section)
        while len(encode(first)) > SECTION_BYTES:
            first = first[: len(first) // 2]
        return {"first": first, "left_out": len(section) - len(first)}
    if not isinstance(section, dict):
        return {"error": "too large to be told"}
    kept, left_out = dict(section), []
    for name in sorted(section, key=lambda name: -len(encode(section[name]))):
        if len(encode(kept)) <= SECTION_BYTES - 1024:
            break
        del kept[name]
        left_out.append(name)
    return {**kept, "left_out": left_out[:20]}


def _newest(lines: list[str], room: int) -> list[str]:
    kept: list[str] = []
    for line in reversed(lines):
        room -= len(encode(line)) + 1
        if room < 0:
            break
        kept.append(line)
    return kept[::-1]
