"""A container that was started, or found again."""

import asyncio
import contextlib
import signal as signals
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from farshore_edge.tasks.drivers.container.engine import Engine, EngineError, EngineGoneError
from farshore_edge.tasks.drivers.container.output import begin_copying
from farshore_edge.tasks.drivers.container.settings import SIGNALLED
from farshore_edge.tasks.drivers.model import DriverError, Exit, Usage

AGAIN_S = 1.0
KILLED_S = 15.0
OUTPUT_S = 5.0
"""What is waited, after the end, for the follower of the output."""
REST_S = 60.0


def read_exit(state: Mapping[str, Any], *, oom: bool) -> Exit:
    """From the engine's word of an ended container. ``oom``: what the kernel's log says. Pure."""
    code = int(state.get("ExitCode", 0))
    found_oom = bool(state.get("OOMKilled")) or oom
    if code > SIGNALLED:
        with contextlib.suppress(ValueError):
            return Exit(signal=signals.Signals(code - SIGNALLED).name, oom=found_oom)
    return Exit(exit_code=code, oom=found_oom)


class RunningContainer:
    """``id``: the engine's. ``oom``: asks the kernel's log for it."""

    def __init__(
        self,
        engine: Engine,
        id: str,
        pid: int | None,
        *,
        output: Path,
        begins_at: int,
        oom: Callable[[str], bool],
    ) -> None:
        self._engine = engine
        self._id = id
        self.pid = pid
        self._oom = oom
        self._ended: Exit | None = None
        self._copying = begin_copying(engine, id, output, begins_at)

    @property
    def trace(self) -> Mapping[str, Any]:
        return {"container": self._id, "socket": str(self._engine.socket)}

    async def wait(self) -> Exit:
        while self._ended is None:
            try:
                query = {"condition": "not-running"}
                path = f"/containers/{self._id}/wait"
                await self._engine.ask("POST", path, query=query, timeout_s=None)
                self._ended = await self._exit()
            except EngineGoneError:
                await asyncio.sleep(AGAIN_S)
            except EngineError as exc:
                if exc.status == 404:
                    self._ended = Exit()  # somebody else has removed it
                else:
                    await asyncio.sleep(AGAIN_S)
        await self._copying.finish(OUTPUT_S, REST_S)
        return self._ended

    async def _exit(self) -> Exit | None:
        state = (await self._engine.ask("GET", f"/containers/{self._id}/json"))["State"]
        if state.get("Running") or state.get("Status") in ("running", "paused"):
            return None
        killed = int(state.get("ExitCode", 0)) == SIGNALLED + signals.SIGKILL
        oom = killed and await asyncio.to_thread(self._oom, self._id)
        return read_exit(state, oom=oom)

    async def stop(self, signal: str, grace_s: float) -> Exit:
        try:
            if await self._told(signal):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace_s):
                        return await self.wait()
                await self._told("SIGKILL")
            async with asyncio.timeout(KILLED_S):
                return await self.wait()
        except TimeoutError as exc:
            message = f"container {self._id[:12]}: it lives on {KILLED_S:g} s after SIGKILL"
            raise DriverError("not_ended", message) from exc
        except (EngineError, EngineGoneError) as exc:
            raise DriverError("engine", f"container {self._id[:12]}: {exc}") from exc

    async def _told(self, signal: str) -> bool:
        """False: there is nobody any more to tell it to."""
        try:
            await self._engine.ask("POST", f"/containers/{self._id}/kill", query={"signal": signal})
        except EngineError as exc:
            # One that has ended is 409 to Docker and 500 to Podman.
            if exc.status == 404 or await self._exit() is not None:
                return False
            raise
        return True

    async def usage(self) -> Usage | None:
        query = {"stream": "false", "one-shot": "true"}
        try:
            found = await self._engine.ask("GET", f"/containers/{self._id}/stats", query=query)
            return read_usage(found)
        except (EngineError, EngineGoneError):
            return None


def read_usage(stats: Mapping[str, Any] | None) -> Usage | None:
    """From the engine's statistics; the files that the kernel could drop do not count. Pure."""
    try:
        spent_ns = int((stats or {})["cpu_stats"]["cpu_usage"]["total_usage"])
        memory = (stats or {})["memory_stats"]
        more = memory.get("stats") or {}
        cache = more.get("inactive_file", more.get("total_inactive_file", 0))
        return Usage(cpu_s=spent_ns / 1e9, memory_bytes=max(int(memory["usage"]) - int(cache), 0))
    except (KeyError, TypeError, ValueError):
        return None
