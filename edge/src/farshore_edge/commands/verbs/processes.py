"""``processes``: what runs on the machine and what it uses of it, by psutil."""

import asyncio
import contextlib
import time
from dataclasses import asdict
from typing import Any

import psutil
from farshore_protocol.commands.catalogue import ProcessesArgs
from farshore_protocol.commands.catalogue.programs import ProcessesResult

from farshore_edge.commands.verbs.model import Context, Outcome

COMMAND_CHARS = 200
_KEYS = {"cpu": "cpu_percent", "memory": "memory_bytes", "pid": "pid", "started": "started_ms"}


async def run(args: ProcessesArgs, _context: Context) -> Outcome:
    found = await asyncio.to_thread(_seen)
    began_s = time.monotonic()
    await asyncio.sleep(args.interval_s)
    rows = await asyncio.to_thread(_measured, found, began_s)
    if args.name is not None:
        rows = [row for row in rows if args.name in row["name"] or args.name in row["command"]]
    rows.sort(key=lambda row: row[_KEYS[args.sort]] or 0, reverse=args.sort != "pid")
    return Outcome(result=asdict(ProcessesResult(count=len(rows), processes=rows[: args.limit])))


def _seen() -> list[tuple[psutil.Process, float]]:
    """Every process with the processor time that it has used."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found.append((process, _cpu_s(process)))
    return found


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _measured(found: list[tuple[psutil.Process, float]], began_s: float) -> list[dict[str, Any]]:
    """Who has ended meanwhile is left out."""
    took_s = max(time.monotonic() - began_s, 1e-3)
    rows = []
    for process, before_s in found:
        with contextlib.suppress(psutil.Error), process.oneshot():
            cpu_s = _cpu_s(process)
            command = ""
            with contextlib.suppress(psutil.AccessDenied):
                command = " ".join(process.cmdline())
            rows.append(
                {
                    "pid": process.pid,
                    "ppid": process.ppid(),
                    "user": _user(process),
                    "state": process.status(),
                    "name": process.name(),
                    "command": command.encode(errors="replace").decode()[:COMMAND_CHARS],
                    "cpu_percent": round(max(cpu_s - before_s, 0.0) / took_s * 100, 1),
                    "cpu_s": round(cpu_s, 2),
                    "memory_bytes": process.memory_info().rss,
                    "threads": process.num_threads(),
                    "started_ms": round(process.create_time() * 1000),
                }
            )
    return rows


def _user(process: psutil.Process) -> str:
    try:
        return process.username()
    except KeyError:  # no name for the number
        return str(process.uids().real)
