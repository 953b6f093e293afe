"""A node's configuration in processes that die: ``python -m soak.config_child``.

Reads jobs, one JSON object a line, and answers each with a line. Every job is a life of its own: a
forked process with the agent's real transaction over real files, that kills itself with SIGKILL at
its n-th call that changes the disk, or is killed after a time.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from farshore_edge.config import ConfigParts, ConfigService, Place
from farshore_edge.config.handlers import app, files
from farshore_edge.config.handlers.agent import AgentSettings
from farshore_edge.config.health import HostHealth
from farshore_edge.config.model import HandlerTools
from farshore_edge.config.programs import HostPrograms
from farshore_edge.config.store import FileStore
from farshore_protocol.clock import SystemClock
from farshore_protocol.codec import encode
from farshore_protocol.config.digest import digest
from farshore_protocol.config.messages import DesiredConfig

CALLS = ("fsync", "rename", "replace", "unlink", "mkdir", "rmdir")
LIFE_S = 30.0
NEVER = 1 << 60


def config_of(rev: int, root: Path) -> dict[str, Any]:
    """Revision ``rev``: no two that follow each other agree in any file. One in four is not healthy."""
    entries: dict[str, Any] = {
        str(root / "a.conf"): {"content": f"a {rev}\n", "mode": "0600" if rev % 2 else "0644"},
        str(root / "t.conf"): {"template": "{{ labels.rev }}\n" + "x" * 10_000},
    }
    for number in range(3):
        present = {"content": f"b {rev}\n"} if rev % 3 == number else {"state": "absent"}
        entries[str(root / f"sub{number}" / "b.conf")] = present
    config: dict[str, Any] = {
        "files": entries,
        "app": {"cam": {"path": str(root / "cam.json"), "document": {"rev": rev}}},
        "agent": {"heartbeat_s": rev},
        "drift": {"interval_s": 3600, "watch_files": False},
    }
    if unhealthy(rev):
        config["health"] = {"it": {"fresh": str(root / "never"), "max_age_s": 1, "within_s": 0.01}}
    return config


def unhealthy(rev: int) -> bool:
    return rev % 4 == 3


def tree_of(rev: int) -> dict[str, tuple[int, str]]:
    """What lies below the root when revision ``rev`` runs whole: mode and content by path."""
    if rev == 0:
        return {}
    return {
        "a.conf": (0o600 if rev % 2 else 0o644, f"a {rev}\n"),
        "t.conf": (0o644, f"{rev}\n" + "x" * 10_000),
        f"sub{rev % 3}/b.conf": (0o644, f"b {rev}\n"),
        "cam.json": (0o644, f'{{\n  "rev": {rev}\n}}\n'),
    }


def arm(at: int) -> Callable[[], int]:
    """Death at the ``at``-th call that changes the disk, before it; how many there were."""
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count >= at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **more)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    return lambda: count


class Life:
    """One life of a node's configuration; what it tells the center is added to ``told.jsonl``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = folder / "root"
        self._live: dict[str, Any] = {"heartbeat_s": 0}
        self._said = asyncio.Event()
        tools = HandlerTools(
            node="n1",
            data=folder / "agent" / "config",
            roots=(self._root,),
            programs=HostPrograms(),
        )
        self._service = ConfigService(
            ConfigParts(
                store=FileStore(tools.data),
                handlers=(files.make(tools), app.make(tools)),
                health=HostHealth(tools.programs, SystemClock()),
            ),
            AgentSettings(
                dict(self._live), {"heartbeat_s": lambda v: self._live.update(heartbeat_s=v)}
            ),
            node="n1",
            place=Place(group="", labels={}),
            tell=self._tell,
            facts=dict,
            now_ms=SystemClock().now_ms,
            monotonic_s=time.monotonic,
            moved=lambda: None,
        )

    async def _tell(self, stream: str, path: str, body: dict[str, Any]) -> None:  # noqa: ARG002 # the contract
        if path == "rep/config":
            self._write({"report": body})
            self._said.set()

    def _write(self, word: dict[str, Any]) -> None:
        with (self._folder / "told.jsonl").open("a") as file:
            file.write(json.dumps({**word, "heartbeat_s": self._live["heartbeat_s"]}) + "\n")

    async def recover(self) -> None:
        """No more than what comes after every start; then it says what runs."""
        await self._service.begin()
        running = self._service.running
        self._write({"running_rev": 0 if running is None else running.rev})

    async def go_on(self, rev: int, count: Callable[[], int]) -> None:
        """The center sends revision ``rev``; until the node has an answer."""
        config = config_of(rev, self._root)
        word = DesiredConfig(
            rev=rev, digest=digest(config), config=config, labels={"rev": str(rev)}
        )
        working = asyncio.create_task(self._service.run())
        self._service.take(encode(word))
        await self._said.wait()
        await self._service.stop()
        await asyncio.wait([working])
        self._write({"steps": count()})


def live(job: dict[str, Any]) -> None:
    count = arm(job.get("kill_at") or NEVER)
    life = Life(Path(job["folder"]))
    asyncio.run(life.recover() if job["rev"] is None else life.go_on(job["rev"], count))


def born(job: dict[str, Any]) -> int:
    """A child that lives the job; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        live(job)
        code = 0
    except BaseException as exc:
        sys.stderr.write(f"a life broke: {exc!r}\n")
    finally:
        os._exit(code)


def main() -> None:
    logging.disable()  # deaths are what this is about
    for line in sys.stdin:
        job = json.loads(line)
        started_s = time.monotonic()
        pid = born(job)
        deadline_s = started_s + LIFE_S
        kill_s = started_s + (job.get("kill_after_s") or LIFE_S)
        ended = 0
        while not ended:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() > min(kill_s, deadline_s):
                os.kill(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
                break
            if not ended:
                time.sleep(0.0005)
        late = time.monotonic() > deadline_s
        word = {"ended": os.waitstatus_to_exitcode(status), "late": late}
        sys.stdout.write(json.dumps(word) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
