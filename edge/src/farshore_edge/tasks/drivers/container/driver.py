"""Instances as containers of Docker or Podman, by the engine's API over its unix socket.

A container has a name and labels that hold the work's id and the agent's, so it is found again whatever
became of the agent. It is made and started in two steps, and counts as started after the second.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from farshore_protocol.tasks.settings import ContainerSettings

from farshore_edge.tasks.drivers.container.engine import Engine, EngineError, EngineGoneError
from farshore_edge.tasks.drivers.container.keeping import begin_keeping
from farshore_edge.tasks.drivers.container.kernel_log import tells_of
from farshore_edge.tasks.drivers.container.owner import hand_over, user_of
from farshore_edge.tasks.drivers.container.running import RunningContainer
from farshore_edge.tasks.drivers.container.settings import (
    AGENT_LABEL,
    OUTPUT_LABEL,
    WORK_LABEL,
    create_body,
    pull_failed,
    start_failed,
    tagged,
)
from farshore_edge.tasks.drivers.limits.choice import agent_name
from farshore_edge.tasks.drivers.model import DriverError, Work

log = logging.getLogger(__name__)

GREET_S = 8.0
"""Podman starts two programs to tell its version, on a machine that may just be starting itself."""
LIVES = ("running", "paused", "restarting", "stopping")


def host_sockets(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Where an engine listens on a machine like this, the likeliest first. Pure."""
    found = []
    if env.get("DOCKER_HOST", "").startswith("unix://"):
        found.append(env["DOCKER_HOST"].removeprefix("unix://"))
    if "XDG_RUNTIME_DIR" in env:
        found.append(f"{env['XDG_RUNTIME_DIR']}/podman/podman.sock")
    found += ["/run/podman/podman.sock", "/run/docker.sock", "/var/run/docker.sock"]
    return tuple(map(Path, dict.fromkeys(found)))


class ContainerDriver:
    """``data``: the agent's data folder; containers of another agent are never touched. ``sockets``: the
    first where an engine answers is used."""

    name = "container"
    settings = ContainerSettings

    def __init__(
        self, data: Path, sockets: Sequence[Path], *, oom: Callable[[str], bool] = tells_of
    ) -> None:
        self._agent = agent_name(data)
        self._sockets = sockets
        self._oom = oom
        self._engine: Engine | None = None

    async def available(self) -> str | None:
        reasons = []
        for socket in self._sockets:
            engine = Engine(socket)
            try:
                await engine.greet(GREET_S)
            except (EngineError, EngineGoneError) as exc:
                reasons.append(f"{exc}")
            else:
                self._engine = engine
                return None
        return "no container engine answers: " + "; ".join(reasons or ["no socket is named"])

    async def _at(self) -> Engine:
        if self._engine is None and (why := await self.available()) is not None:
            raise DriverError("no_engine", why)
        assert self._engine is not None  # noqa: S101 # available() has just set it
        return self._engine

    async def prepare(self, work: Work) -> None:
        engine = await self._at()
        image, pull = work.run.image, work.run.pull
        try:
            there = await _image(engine, image)
            if pull == "never" and there is None:
                message = f"{image}: it is not on this node, and pull is never"
                raise DriverError("no_image", message, permanent=True)
            if pull == "always" or there is None:
                await _pull(engine, image)
        except (EngineError, EngineGoneError) as exc:
            _failed(exc)

    async def start(self, work: Work) -> RunningContainer:
        engine = await self._at()
        await asyncio.to_thread(_check_mounts, work.run)
        try:
            image = await _image(engine, work.run.image)
            if image is None:
                raise DriverError("no_image", f"{work.run.image}: it is not on this node any more")
            await self._make_room(engine, work)
            output_at = work.output.stat().st_size if work.output.exists() else 0
            body = create_body(work, self._agent, image, output_at)
            query = {"name": self._container(work.id)}
            made = await engine.ask("POST", "/containers/create", query=query, body=body)
        except EngineError as exc:
            raise start_failed(work.run.image, exc.message) from exc
        except EngineGoneError as exc:
            _failed(exc)
        user = user_of(work.run.user, image)
        return await self._begin(engine, work, str(made["Id"]), output_at, user)

    async def _begin(
        self, engine: Engine, work: Work, id: str, output_at: int, user: str | None
    ) -> RunningContainer:
        """It runs, or nothing of it is left."""
        try:
            if user is not None:
                await hand_over(engine, id, user, work.folder)
            await engine.ask("POST", f"/containers/{id}/start")
            found = await engine.ask("GET", f"/containers/{id}/json")
            return await self._running(engine, work, found, output_at)
        except BaseException as exc:
            # Also where the start is given up: shielded, or what was begun would go on.
            await asyncio.shield(self._gone(engine, id))
            if isinstance(exc, EngineError):
                raise start_failed(work.run.image, exc.message) from exc
            if isinstance(exc, EngineGoneError):
                _failed(exc)
            if isinstance(exc, OSError):
                raise DriverError("not_started", f"nobody can look after its lease: {exc}") from exc
            raise

    async def _running(
        self, engine: Engine, work: Work, found: Mapping[str, Any], output_at: int
    ) -> RunningContainer:
        pid = int(found["State"].get("Pid") or 0) or None
        if work.lease is not None and pid is not None:
            await asyncio.to_thread(begin_keeping, engine, work, str(found["Id"]), pid)
        return RunningContainer(
            engine,
            str(found["Id"]),
            pid,
            output=work.output,
            begins_at=output_at,
            oom=self._oom,
        )

    async def _make_room(self, engine: Engine, work: Work) -> None:
        """What an earlier run has left under the name; never one that still runs."""
        found = await self._find(engine, work.id)
        if found is not None and found["State"]["Status"] in LIVES:
            raise DriverError("busy", f"{work.id}: container {found['Id'][:12]} of it still runs")
        if found is not None:
            await _remove(engine, str(found["Id"]))

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> RunningContainer | None:  # noqa: ARG002 # it has a name
        engine = await self._at()
        try:
            found = await self._find(engine, work.id)
            if found is None:
                return None
            if found["State"]["Status"] in ("created", "configured", "initialized"):
                await _remove(engine, str(found["Id"]))  # made, and never started
                return None
        except (EngineError, EngineGoneError) as exc:
            _failed(exc)
        output_at = int(found["Config"]["Labels"].get(OUTPUT_LABEL, 0))
        return await self._running(engine, work, found, output_at)

    async def sweep(self, keep: frozenset[str]) -> list[str]:
        engine = await self._at()
        told = []
        try:
            filters = f'{{"label":["{AGENT_LABEL}={self._agent}"]}}'
            query = {"all": "true", "filters": filters}
            for each in await engine.ask("GET", "/containers/json", query=query) or ():
                work_id = each.get("Labels", {}).get(WORK_LABEL, "")
                if work_id not in keep:
                    await _remove(engine, str(each["Id"]))
                    told.append(f"container {each['Id'][:12]} of {work_id} ({each['State']})")
        except (EngineError, EngineGoneError) as exc:
            _failed(exc)
        return told

    async def remove(self, work: Work) -> None:
        engine = await self._at()
        await self._gone(engine, self._container(work.id))

    async def _gone(self, engine: Engine, id: str) -> None:
        try:
            await _remove(engine, id)
        except (EngineError, EngineGoneError) as exc:
            _failed(exc)

    def _container(self, work_id: str) -> str:
        return f"farshore-{self._agent.removeprefix('agent-')}-{work_id}"

    async def _find(self, engine: Engine, work_id: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await engine.ask(
                "GET", f"/containers/{self._container(work_id)}/json"
            )
        except EngineError as exc:
            if exc.status == 404:
                return None
            raise
        return found


def _check_mounts(run: ContainerSettings) -> None:
    """Podman makes a directory where there is none, and the task would find nothing in it."""
    for mount in run.mounts:
        if not os.path.exists(mount.source):
            raise DriverError("no_mount", f"mounts: {mount.source}: it is not on this node")


async def _image(engine: Engine, image: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await engine.ask("GET", f"/images/{image}/json")
    except EngineError as exc:
        if exc.status == 404:
            return None
        raise
    return found


async def _pull(engine: Engine, image: str) -> None:
    """The engine answers 200 at once, and tells of a failure in what follows."""
    rest = b""
    try:
        async with engine.stream("POST", "/images/create", {"fromImage": tagged(image)}) as pieces:
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                for line in (*lines, rest):
                    if line.strip().endswith(b"}") and (why := json.loads(line).get("error")):
                        raise pull_failed(image, str(why))
    except EngineError as exc:
        raise pull_failed(image, exc.message) from exc
    if await _image(engine, image) is None:
        raise pull_failed(image, "the engine has said nothing of it, and it is not there")


async def _remove(engine: Engine, id: str) -> None:
    try:
        await engine.ask("DELETE", f"/containers/{id}", query={"force": "true", "v": "true"})
    except EngineError as exc:
        if exc.status != 404:
            raise


def _failed(exc: EngineError | EngineGoneError) -> NoReturn:
    raise DriverError("engine", str(exc)) from exc
