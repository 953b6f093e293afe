"""A real center on free ports, nodes played by raw paho clients, and patience with a deadline."""

import asyncio
import itertools
import json
import random
import ssl
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
from farshore_center.app import Center
from farshore_center.cli.center import _listen, _server
from farshore_center.settings import Settings, read_settings
from farshore_protocol.clock import Clock, SystemClock
from paho.mqtt.enums import CallbackAPIVersion
from ports import free_port

DEADLINE_S = 45.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""It trusts nobody: to load the certificates of the machine takes longer than many a test."""
BOOT = "b00t"
EPOCH = "ep0ch"


async def until(condition: Callable[[], Any], what: str = "it") -> Any:
    """Until ``condition`` gives something; it may be a coroutine function."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} never came"
        await asyncio.sleep(0.02)


def settings_for(data: Path, mqtt: str | None = None) -> Settings:
    return read_settings(
        data=data,
        http=f"127.0.0.1:{free_port()}",
        mqtt=mqtt or f"127.0.0.1:{free_port()}",
        database=None,
        dev=True,
        log_level="INFO",
    )


_SEEDS = itertools.count(1)
"""A center that is started anew draws other ids."""


class RunningCenter:
    """A center in this process, served as its command line serves it."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.center = Center(
            settings, clock=clock or SystemClock(), rng=random.Random(next(_SEEDS))
        )
        self.port = settings.mqtt.port
        self.url = f"http://{settings.http}"
        self.http = httpx.AsyncClient(base_url=self.url, timeout=DEADLINE_S, verify=NO_TLS)
        self._server = _server(settings, self.center.api)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.center.start()
        self._serving = asyncio.create_task(self._server.serve(sockets=_listen(self.settings.http)))
        await until(lambda: self._server.started, "the web server")

    async def stop(self) -> None:
        await self.http.aclose()
        self.center.events.close()
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        await self.center.stop()

    async def get(self, path: str, **params: Any) -> Any:
        response = await self.http.get(f"/api/v1{path}", params=params)
        assert response.status_code == 200, response.text
        return response.json()

    async def books(self, node: str) -> dict[str, dict[str, Any]]:
        response = await self.http.get(f"/api/v1/nodes/{node}/streams")
        items = response.json()["items"] if response.status_code == 200 else []
        return {item["stream"]: item for item in items if item["current"]}

    async def metrics(self) -> str:
        return (await self.http.get("/metrics")).text


class PahoNode:
    """A node, or whoever else, as a raw client; ``answers`` holds what came, by topic."""

    def __init__(self, port: int, name: str, *, will: bool = True) -> None:
        self.name = name
        self.epoch = EPOCH
        self.answers: list[tuple[str, bytes]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name)
        if will:
            self.client.will_set(f"fs1/up/{name}/presence", self._presence("offline"), 1, True)
        self._ready = False
        self.client.on_connect = self._connected
        self.client.on_subscribe = self._subscribed
        self.client.on_message = lambda _c, _d, m: self.answers.append((m.topic, bytes(m.payload)))
        self.client.connect("127.0.0.1", port, keepalive=60)
        self.client.loop_start()

    def _connected(self, client: paho.Client, *_rest: Any) -> None:
        client.subscribe(f"fs1/down/{self.name}/#", 1)

    def _subscribed(self, *_rest: Any) -> None:
        self._ready = True

    @staticmethod
    def _presence(state: str, conn: int = 1) -> bytes:
        return json.dumps({"state": state, "boot": BOOT, "conn": conn}).encode()

    async def ready(self) -> "PahoNode":
        await until(lambda: self._ready, f"the connection of {self.name}")
        return self

    async def publish(self, path: str, content: Any, qos: int = 1) -> None:
        """Below the node's prefix, or, with a leading ``fs1/``, anywhere."""
        info = await self.send(path, content, qos)
        await until(info.is_published, "the PUBACK")

    async def send(self, path: str, content: Any, qos: int = 1) -> paho.MQTTMessageInfo:
        """As ``publish``, but whoever takes it need not say so."""
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        topic = path if path.startswith(("fs1/", "$", "other/")) else f"fs1/up/{self.name}/{path}"
        return self.client.publish(topic, payload, qos)

    async def birth(self, **more: Any) -> None:
        await self.publish("birth", birth(**more))

    def got(self, kind: str) -> list[dict[str, Any]]:
        topic = f"fs1/down/{self.name}/{kind}"
        return [json.loads(payload) for at, payload in list(self.answers) if at == topic]

    def acknowledged(self, stream: str, seq: int) -> bool:
        return any(
            first <= seq <= last
            for ack in self.got("ack")
            for first, last in ack.get(stream, {}).get("ranges", [])
        )

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def birth(**more: Any) -> dict[str, Any]:
    return {
        "protocol": 1,
        "agent_version": "0.1.0",
        "boot": BOOT,
        "conn": 1,
        "up_ms": 1000,
        "ts": now_ms(),
        "group": "eu/hamburg",
        "labels": {"env": "test"},
        "streams": {"metrics": {"epoch": EPOCH, "head": 0}},
        **more,
    }


def record(seq: Any, **more: Any) -> dict[str, Any]:
    """An envelope, synced."""
    return {
        "epoch": EPOCH,
        "seq": seq,
        "boot": BOOT,
        "up_ms": 1000,
        "ts": now_ms(),
        "synced": True,
        **more,
    }


def batch(seq: Any, **more: Any) -> dict[str, Any]:
    return {**record(seq), "dt": [0, 100], "m": {"cpu.percent": [1.5, 2.5]}, **more}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"
