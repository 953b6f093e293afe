"""A log of a node, live: by the center and its command line, and by hand over MQTT."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system.programs import BIN, AgentProgram, CenterProgram, MosquittoProgram, Program, until

pytestmark = pytest.mark.processes


class Stream:
    """An open stream of the center's, read to its documents."""

    def __init__(self, center: CenterProgram, node: str, **params: Any) -> None:
        self.documents: list[dict[str, Any]] = []
        self._task = asyncio.create_task(self._read(center, f"/api/v1/nodes/{node}/logs", params))

    async def _read(self, center: CenterProgram, path: str, params: dict[str, Any]) -> None:
        async with center.http.stream("GET", path, params=params) as response:
            assert response.status_code == 200, await response.aread()
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    self.documents.append(json.loads(line.removeprefix("data: ")))

    def lines(self) -> list[str]:
        return [line for each in self.documents for line in each.get("lines", ())]

    async def have(self, *lines: str) -> None:
        await until(lambda: self._failed() or self.lines() == list(lines), f"lines {lines}")

    def _failed(self) -> bool:
        if self._task.done():
            self._task.result()
        return False

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture(params=["embedded", "mosquitto"])
async def fleet(
    request: pytest.FixtureRequest,
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
) -> tuple[CenterProgram, AgentProgram]:
    more: dict[str, str] = {}
    port = 0
    if request.param == "mosquitto":
        broker: MosquittoProgram = request.getfixturevalue("mosquitto")
        more, port = {"mqtt": f"mqtt://127.0.0.1:{broker.port}"}, broker.port
    center = make_center(**more)
    await center.ready()
    port = port or center.mqtt_port
    agent = make_agent("pi-1", port)
    await center.online("pi-1")
    return center, agent


def write(file: Path, *lines: str) -> None:
    with file.open("a") as out:
        out.writelines(line + "\n" for line in lines)


async def test_by_the_center_over_a_rotation_and_for_two_at_once(
    fleet: tuple[CenterProgram, AgentProgram],
) -> None:
    center, agent = fleet
    file = agent.data / "files" / "shop.log"
    write(file, "one", "two")
    first = Stream(center, "pi-1", path=str(file), lines=1)
    await first.have("two")
    write(file, "three")
    await first.have("two", "three")
    second = Stream(center, "pi-1", path=str(file), lines=10)
    await second.have("two", "three")
    file.rename(file.with_suffix(".1"))
    write(file, "four")
    await first.have("two", "three", "four")
    await second.have("two", "three", "four")
    await first.close()
    write(file, *(f"flood {n}" for n in range(2000)))
    await until(
        lambda: sum(d.get("dropped", 0) for d in second.documents) + len(second.lines()) == 2003,
        "every line or its number",
    )
    assert len(second.lines()) < 600
    assert sum(d.get("lost", 0) for d in second.documents) == 0
    assert agent.end() == 0
    await until(lambda: second.documents[-1].get("reason") == "agent_stopped", "its end")
    await second.close()


async def test_what_cant_be_followed_says_why(
    make_center: Callable[..., CenterProgram], make_agent: Callable[[str, int], AgentProgram]
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")

    async def problem(node: str, **params: Any) -> tuple[int, dict[str, Any]]:
        response = await center.http.get(f"/api/v1/nodes/{node}/logs", params=params)
        return response.status_code, response.json()

    assert (await problem("pi-2", unit="x"))[0] == 404
    assert (await problem("pi-1"))[0] == 422
    assert (await problem("pi-1", unit="x", path="/y"))[0] == 422
    status, said = await problem("pi-1", path="/etc/shadow")
    assert (status, said["code"]) == (409, "outside_roots")
    assert (await problem("pi-1", unit="-x"))[0] == 422
    agent.kill()
    await center.offline("pi-1")
    status, said = await problem("pi-1", path="/etc/shadow")
    assert (status, said["title"]) == (409, "The node is offline")


async def test_on_the_command_line_it_is_taken_up_after_the_agents_death(
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
    programs: list[Program],
    tmp_path: Path,
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    file = agent.data / "files" / "shop.log"
    write(file, "one", "t\x1b[31mwo")
    argv = [str(BIN / "farshore"), "--url", center.url, "logs", "pi-1", "--path", str(file)]
    shown = await asyncio.to_thread(
        subprocess.run, [*argv, "-n", "1"], capture_output=True, text=True, timeout=60
    )
    assert (shown.returncode, shown.stdout) == (0, "t\\x1b[31mwo\n")
    refused = await asyncio.to_thread(
        subprocess.run,
        [*argv[:5], "--path", "/etc/shadow"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode == 1
    assert "/etc/shadow" in refused.stderr

    follower = Program([*argv, "-f", "-n", "1"], tmp_path / "follow.txt")
    programs.append(follower)
    follower.start()
    await until(lambda: "t\\x1b[31mwo\n" in follower.text(), "the last line")
    write(file, "three")
    await until(lambda: "three\n" in follower.text(), "a live line")
    agent.kill()
    await until(lambda: "it is taken up again" in follower.text(), "that it broke off")
    write(file, "meanwhile")
    agent.start()
    await until(lambda: "meanwhile\n" in follower.text(), "what came meanwhile", within_s=60)
    assert follower.end(signal.SIGINT) == 130


async def test_by_hand_with_mosquittos_clients(
    mosquitto: MosquittoProgram,
    make_agent: Callable[[str, int], AgentProgram],
    programs: list[Program],
    tmp_path: Path,
) -> None:
    """No center: a person and a node."""
    agent = make_agent("pi-1", mosquitto.port)
    file = agent.data / "files" / "shop.log"
    at = ["-h", "127.0.0.1", "-p", str(mosquitto.port)]
    listener = Program(
        ["mosquitto_sub", *at, "-v", "-t", "fs1/up/pi-1/log/+", "-t", "fs1/up/pi-1/birth"],
        tmp_path / "sub.txt",
    )
    programs.append(listener)
    listener.start()

    def words() -> list[dict[str, Any]]:
        found = [line.split(" ", 1) for line in listener.text().splitlines()]
        return [json.loads(text) for topic, text in found if "/log/" in topic]

    def publish(topic: str, **word: Any) -> None:
        argv = ["mosquitto_pub", *at, "-q", "1", "-t", f"fs1/down/pi-1/{topic}"]
        subprocess.run([*argv, "-m", json.dumps(word)], check=True, timeout=30)

    def asked() -> bool:
        publish("log/nothing-here")
        return any(word.get("end") == "unknown" for word in words())

    await until(asked, "an agent that listens")
    write(file, "one")
    publish("cmd/logs", args={"path": str(file), "follow": True, "follow_s": 4})

    def lines() -> list[str]:
        return [line for word in words() for line in word.get("lines", ())]

    def written() -> bool:
        write(file, "line")
        return "line" in lines()

    await until(written, "live lines")
    [name] = {line.split(" ")[0] for line in listener.text().splitlines() if "shop" in line}
    await until(lambda: any(w.get("end") == "lease_over" for w in words()), "the end by itself")
    assert name.startswith("fs1/up/pi-1/log/shop-log-")
