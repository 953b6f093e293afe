"""A whole center on a real SQLite database and a manual clock, with nodes that stand in.

They speak the wire protocol straight into the center's intake: everything is real but the broker. What a
node answers is up to the test.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import orjson
from center.running import settings_for
from farshore_center.app import Center
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import decode
from farshore_protocol.config.digest import digest
from farshore_protocol.config.messages import MAX_CONFIG_BYTES, DesiredConfig
from farshore_protocol.link import Message
from farshore_protocol.telemetry import inflate
from farshore_protocol.topics import Down, parse

DEADLINE_S = 30.0

CommandAnswer = Callable[[str, str, dict[str, Any]], str | None]
"""Of a node to a verb with arguments: the state that it reports, None for silence."""
ConfigAnswer = Callable[[str, dict[str, Any]], str | None]


class StandIns:
    """In place of the uplink: what is sent is answered at once."""

    fault = None

    def __init__(self) -> None:
        self.ready = True
        self.center: Center | None = None
        self.clock = ManualClock()
        self.names: list[str] = []
        self.told: list[tuple[str, str, str]] = []
        """Node, verb and command id, in the order of the sendings."""
        self.configs: dict[str, dict[str, Any]] = {}
        self.on_command: CommandAnswer = lambda _node, _verb, _args: "succeeded"
        self.on_config: ConfigAnswer = lambda _node, _config: "applied"
        self._seq: Counter[tuple[str, str]] = Counter()
        self._answers: set[asyncio.Task[None]] = set()
        self._ran: dict[tuple[str, str], bytes] = {}
        self.boot = 0

    async def start(self) -> None:
        """Nobody connects."""

    async def stop(self) -> None:
        await asyncio.gather(*self._answers, return_exceptions=True)

    async def send(self, message: Message) -> None:
        topic = parse(message.topic)
        if not isinstance(topic, Down) or topic.node not in self.names:
            return
        if topic.kind == "cmd":
            self._later(self._command(topic.node, topic.name or "", message.payload))
        elif topic.kind == "desired":
            desired = decode(
                DesiredConfig, inflate(message.payload), limit_bytes=MAX_CONFIG_BYTES + 100_000
            )
            self._later(self._config(topic.node, desired))

    def _later(self, answer: Any) -> None:
        task = asyncio.get_running_loop().create_task(answer)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _command(self, node: str, verb: str, payload: bytes) -> None:
        word = orjson.loads(payload)
        command_id = word["id"]
        known = self._ran.get((node, command_id))
        if known is not None:
            return  # as a node does: what it has run it does not run again
        self._ran[node, command_id] = payload
        self.told.append((node, verb, command_id))
        state = self.on_command(node, verb, word.get("args", {}))
        if state is not None:
            await self.answer(node, command_id, verb, state)

    async def answer(self, node: str, command_id: str, verb: str, state: str) -> None:
        error = None if state == "succeeded" else {"code": "x", "message": f"it {state}"}
        body = {"id": command_id, "verb": verb, "state": state, "at": self.clock.now_ms()}
        await self.say(node, f"res/{command_id}", "results", body | {"error": error})

    async def _config(self, node: str, desired: DesiredConfig) -> None:
        state = self.on_config(node, desired.config)
        if state is None:
            return
        if state == "applied":
            self.configs[node] = desired.config
        running = digest(self.configs.get(node, {}))
        error = None if state == "applied" else {"stage": "apply", "code": "x", "message": "no"}
        body = {
            "rev": desired.rev, "digest": desired.digest, "state": state, "error": error,
            "running": running, "running_rev": desired.rev if state == "applied" else 0,
            "effective": running,
        }  # fmt: skip
        await self.say(node, "rep/config", "reports", body)

    async def say(self, node: str, path: str, stream: str, body: dict[str, Any]) -> None:
        self._seq[node, stream] += 1
        envelope = {
            "epoch": f"{stream}0", "seq": self._seq[node, stream], "boot": "b00t",
            "up_ms": 1000, "ts": self.clock.now_ms(), "synced": True,
        }  # fmt: skip
        await self.take(node, path, envelope | body)

    async def take(self, node: str, path: str, body: dict[str, Any]) -> None:
        assert self.center is not None
        await self.center.intake.take(f"fs1/up/{node}/{path}", orjson.dumps(body), node)


class Stage:
    def __init__(self, folder: Path) -> None:
        self.settings = settings_for(folder)
        self.nodes = StandIns()
        self.clock = self.nodes.clock
        self.lives = 0

    async def start(self) -> "Stage":
        self.lives += 1
        self.center = Center(self.settings, clock=self.clock, rng=random.Random(self.lives))
        self.center.uplink = self.nodes
        self.nodes.center = self.center
        await self.center.start()
        transport = httpx.ASGITransport(app=self.center.api)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://center/api/v1")
        return self

    async def stop(self) -> None:
        await self.http.aclose()
        await self.center.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()
        for node in list(self.nodes.names):
            await self.birth(node)

    async def fleet(
        self, number: int, group: str = "eu", prefix: str = "n", **labels: str
    ) -> list[str]:
        names = [f"{prefix}{each:04}" for each in range(number)]
        self.nodes.names += names
        births = [self.birth(name, group=group, labels=labels) for name in names]
        await asyncio.gather(*births)  # together, as a fleet comes: one commit for many
        return names

    async def birth(self, node: str, **more: Any) -> None:
        self.nodes.boot += 1
        word = {
            "protocol": 1, "agent_version": "0.1.0", "boot": "b00t", "conn": self.nodes.boot,
            "up_ms": 1, "ts": self.clock.now_ms(), "heartbeat_s": 3600, "streams": {},
        }  # fmt: skip
        await self.nodes.take(node, "birth", word | more)

    async def offline(self, node: str) -> None:
        entry = self.center.nodes.registry.get(node)
        assert entry is not None
        word = {"state": "offline", "boot": "b00t", "conn": entry.standing.conn}
        await self.nodes.take(node, "presence", word)

    def advance(self, seconds: float) -> None:
        """Time passes, and the loops look at the clock."""
        self.clock.advance(seconds)
        self.center.jobs.runner.wake()
        self.center.configs.wake()
        self.center.commands.node_arrived("")

    # REST

    async def make(self, selector: str = "all", **more: Any) -> dict[str, Any]:
        body: dict[str, Any] = {"name": "a job", "selector": selector, **more}
        if "config" not in body:
            body.setdefault("command", {"verb": "ping"})
        answer = await self.http.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def call(self, job: dict[str, Any], call: str, **body: Any) -> httpx.Response:
        return await self.http.post(f"/jobs/{job['id']}/{call}", json=body)

    async def until(self, job: dict[str, Any], *states: str) -> dict[str, Any]:
        """The job in one of these states."""
        return await self.until_that(job, lambda found: found["state"] in states)

    async def until_that(
        self, job: dict[str, Any], condition: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            found: dict[str, Any] = await self.get(f"/jobs/{job['id']}")
            if condition(found):
                return found
            if time.monotonic() > deadline_s:
                raise AssertionError(f"in vain: {found}")
            await asyncio.sleep(0.02)

    async def until_config(self, node: str, state: str) -> None:
        """The node's configuration in this state."""
        deadline_s = time.monotonic() + DEADLINE_S
        while (found := (await self.get(f"/nodes/{node}"))["config"]["state"]) != state:
            assert time.monotonic() < deadline_s, found
            await asyncio.sleep(0.02)

    async def states(self, job: dict[str, Any]) -> dict[str, str]:
        found = await self.get(f"/jobs/{job['id']}/nodes", limit=1000)
        return {row["node"]: row["state"] for row in found["items"]}

    async def said(self, job: dict[str, Any], node: str | None = None) -> list[tuple[Any, ...]]:
        params = {"limit": 1000} | ({} if node is None else {"node": node})
        found = await self.get(f"/jobs/{job['id']}/history", **params)
        return [(row["node"], row["state"], row["by"]) for row in found["items"]]


def told(stage: Stage) -> list[str]:
    """The nodes in the order in which they were told."""
    return [node for node, _, _ in stage.nodes.told]


def doubled(names: Iterable[str]) -> set[str]:
    return {name for name, number in Counter(names).items() if number > 1}
