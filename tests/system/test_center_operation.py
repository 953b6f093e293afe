"""Real processes: start, refusal to start, orderly end, pings from everywhere, foreign brokers."""

import asyncio
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from system.programs import (
    BIN,
    AgentProgram,
    CenterProgram,
    MosquittoProgram,
    until,
)

pytestmark = pytest.mark.processes

MakeCenter = Callable[..., CenterProgram]
MakeAgent = Callable[[str, int], AgentProgram]


def attempt(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "farshore-center"), "run", *argv],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--dev", "--http", "0.0.0.0:8080"), "loopback"),
        (("--dev", "--mqtt", "192.0.2.1:1883"), "loopback"),
        (("--dev", "--mqtt", "mqtt://192.0.2.1:1883"), "loopback"),
        ((), "without --dev"),
        (("--dev", "--http", "127.0.0.1"), "expected HOST:PORT"),
        (("--dev", "--mqtt", "mqtt://me:secret@127.0.0.1:1883"), "without login"),
        (("--dev", "--log-level", "LOUD"), "expected DEBUG"),
        (("--dev", "--database", "mysql:nothing"), "database"),
        (("--dev", "--nonsense"), "--nonsense"),
    ],
)
def test_a_flag_that_can_t_be_used(argv: tuple[str, ...], said: str, tmp_path: Path) -> None:
    found = attempt("--data", str(tmp_path), *argv)
    assert (found.returncode, found.stdout) == (2, "")
    assert said in found.stderr
    assert "secret" not in found.stderr
    assert "Traceback" not in found.stderr


async def test_what_is_in_use_is_refused(make_center: MakeCenter, tmp_path: Path) -> None:
    """A data folder and ports; readably, with exit code 1, and without harm to who has them."""
    center = make_center()
    await center.ready()
    http, mqtt = f"127.0.0.1:{center.http_port}", f"127.0.0.1:{center.mqtt_port}"
    for argv, said in (
        (("--data", str(center.data), "--http", "127.0.0.1:0"), "in use by another center"),
        (("--data", str(tmp_path / "b"), "--http", http), f"--http = {http}"),
        (("--data", str(tmp_path / "c"), "--mqtt", mqtt), f"--mqtt = {mqtt}"),
    ):
        more = () if "--mqtt" in argv else ("--mqtt", "127.0.0.1:0")
        found = await asyncio.to_thread(attempt, "--dev", *argv, *more)
        assert found.returncode == 1, found.stderr
        assert said in found.stderr.splitlines()[-1]
        assert "Traceback" not in found.stderr
    await center.ready()


async def test_an_orderly_end_with_open_streams_and_nodes(
    make_center: MakeCenter, make_agent: MakeAgent
) -> None:
    center = make_center()
    await center.ready()
    make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    headers = {"Accept": "text/event-stream"}
    async with center.http.stream("GET", "/api/v1/events", headers=headers) as response:
        lines = response.aiter_lines()
        assert (await anext(lines)).startswith(":")
        started = time.monotonic()
        code = await asyncio.to_thread(center.end, signal.SIGTERM)
        assert (code, time.monotonic() - started < 5) == (0, True)
        async with asyncio.timeout(5):
            async for _ in lines:
                pass  # what was under way is still said; then the stream ends
    assert "level=error" not in center.text()
    assert "Traceback" not in center.text()
    center.start()
    await center.ready()
    await center.online("pi-1")
    assert center.end(signal.SIGINT) == 0


async def test_ping_with_stock_clients(make_center: MakeCenter, make_agent: MakeAgent) -> None:
    """The very commands of the README."""
    assert shutil.which("mosquitto_sub"), "mosquitto-clients are missing: make system"
    center = make_center()
    await center.ready()
    make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    address = ("-h", "127.0.0.1", "-p", str(center.mqtt_port))
    listener = await asyncio.create_subprocess_exec(
        *("mosquitto_sub", *address, "-t", "fs1/up/pi-1/res/+", "-C", "1", "-v", "-W", "15"),
        stdout=subprocess.PIPE,
    )

    async def listens() -> bool:
        text = (await center.http.get("/metrics")).text
        return "farshore_broker_clients 2.0" in text and "farshore_broker_subscriptions" in text

    await until(listens, "mosquitto_sub at the broker")
    answering = asyncio.create_task(listener.communicate())
    while not answering.done():
        await asyncio.to_thread(
            subprocess.run,
            ["mosquitto_pub", *address, "-t", "fs1/down/pi-1/cmd/ping", "-m", "{}"],
            check=True,
        )
        await asyncio.wait([answering], timeout=1)
    out, _ = answering.result()
    topic, _, payload = out.decode().partition(" ")
    word = json.loads(payload)
    assert topic == f"fs1/up/pi-1/res/{word['id']}"
    assert (word["verb"], word["state"]) == ("ping", "succeeded")


async def test_ping_over_websockets(make_center: MakeCenter, make_agent: MakeAgent) -> None:
    center = make_center()
    await center.ready()
    make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    answers: list[tuple[str, Any]] = []
    granted: list[Any] = []
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id="field-engineer", transport="websockets"
    )
    client.ws_set_options(path="/mqtt")
    client.on_connect = lambda c, *_: c.subscribe("fs1/up/pi-1/res/+", 1)
    client.on_subscribe = lambda *_: granted.append(_)
    client.on_message = lambda _c, _d, m: answers.append((m.topic, json.loads(m.payload)))
    client.connect("127.0.0.1", center.http_port)
    client.loop_start()
    try:
        await until(lambda: granted, "the subscription")
        client.publish("fs1/down/pi-1/cmd/ping", '{"id":"by-hand"}', 1)
        await until(lambda: answers, "the answer")
    finally:
        client.disconnect()
        client.loop_stop()
    assert answers[0][0] == "fs1/up/pi-1/res/by-hand"
    assert answers[0][1]["state"] == "succeeded"
    assert center.end() == 0


async def test_an_external_broker_that_dies(
    make_center: MakeCenter, make_agent: MakeAgent, mosquitto: MosquittoProgram
) -> None:
    """By one setting; killed and started empty, everything goes on."""
    center = make_center(mqtt=f"mqtt://127.0.0.1:{mosquitto.port}")
    await center.ready()
    make_agent("pi-1", mosquitto.port)
    await center.online("pi-1")

    async def ping() -> None:
        made = await center.command("pi-1", "ping", ttl_s=60)
        view = await center.done(made["id"])
        assert view["summary"] == {"succeeded": 1}

    async def accepted() -> int:
        items = (await center.get("/nodes/pi-1/streams"))["items"]
        return next((i["accepted"] for i in items if i["stream"] == "metrics"), 0)

    await ping()
    await until(accepted, "a record")
    mosquitto.kill()

    async def unready() -> bool:
        return (await center.http.get("/readyz")).status_code == 503

    await until(unready, "the center's word that the broker is away")
    mosquitto.start()
    await center.ready()
    before = await accepted()
    await ping()

    async def more() -> bool:
        return await accepted() > before

    await until(more, "another record", within_s=30)
    assert center.end() == 0
