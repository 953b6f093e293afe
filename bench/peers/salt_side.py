"""Salt's side: real minions on one real master, with Salt's default settings and transport (ZeroMQ).

What is set is where things lie, loopback and free ports, keys accepted at once, and a timeout so long
that no answer is left out: the client returns when the last one is there.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.context import Context
from bench.errors import BenchError
from bench.peers.findings import Findings
from bench.peers.herd import Program, end, herd, memory_mib, start
from bench.peers.install import HERE, clean_environment
from bench.peers.shell import call, check_answers
from bench.peers.size import Size
from bench.processes import Running, free_port

PRESENT_WITHIN_S = 300.0
ANSWER_WITHIN_S = 180.0
CLIENT = HERE / "salt_client.py"
TIMEOUT_S = 60
PING_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """``env``: what every program of Salt gets."""

    folder: Path
    bin: Path
    env: Mapping[str, str]
    publish_port: int
    request_port: int

    @property
    def master(self) -> Path:
        return self.folder / "master"

    def program(self, name: str, config: Path) -> Program:
        argv = (str(self.bin / name), "-c", str(config))
        log = self.folder / f"{config.name}.log"
        return Program(name=f"{name} {config.name}", argv=argv, log=log, env=self.env)


def master_config(site: Site) -> dict[str, Any]:
    return {
        "interface": "127.0.0.1",
        "publish_port": site.publish_port,
        "ret_port": site.request_port,
        "root_dir": str(site.master),
        "pki_dir": "/pki",
        "user": "root",
        "auto_accept": True,
        "timeout": TIMEOUT_S,
    }


def minion_config(site: Site, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "master": "127.0.0.1",
        "publish_port": site.publish_port,
        "master_port": site.request_port,
        "root_dir": str(site.folder / name),
        "pki_dir": "/pki",
        "user": "root",
    }


def write_config(folder: Path, name: str, config: Mapping[str, Any]) -> None:
    """As JSON, which is YAML."""
    folder.mkdir()
    (folder / name).write_text(json.dumps(config, indent=2))


class Client:
    """Salt's LocalClient in a process of its own, warm between the calls."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, function: str, *args: str, timeout_s: int = TIMEOUT_S) -> dict[str, Any]:
        """``{"seconds", "answers", "error"}`` of one ``LocalClient.cmd`` to all, as the client
        measured it."""
        reader, writer = self._process.stdout, self._process.stdin
        if reader is None or writer is None:
            raise BenchError("Salt's client has no pipes")
        writer.write(json.dumps([function, args, timeout_s]).encode() + b"\n")
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                line = await reader.readline()
        except TimeoutError as exc:
            raise BenchError(f"Salt's client gave no answer in {ANSWER_WITHIN_S:g} s") from exc
        if not line:
            raise BenchError("Salt's client ended; its words are in salt_client.log")
        answer: dict[str, Any] = json.loads(line)
        return answer


async def run(context: Context, size: Size, environment: Path) -> Findings:
    folder = context.folder("salt")
    site = Site(
        folder=folder,
        bin=environment / "bin",
        env=clean_environment(folder),
        publish_port=free_port(),
        request_port=free_port(),
    )
    write_config(site.master, "master", master_config(site))
    for name in size.names():
        write_config(folder / name, "minion", minion_config(site, name))
    master = await start(site.program("salt-master", site.master))
    try:
        minions = [site.program("salt-minion", folder / name) for name in size.names()]
        context.say(f"salt-master and {size.nodes} salt-minions start")
        async with herd(minions) as running:
            return await _measure(context, size, site, master, running)
    finally:
        await asyncio.shield(end([master]))


async def _measure(
    context: Context, size: Size, site: Site, master: Running, minions: list[Running]
) -> Findings:
    argv = (str(site.bin / "python"), "-I", str(CLIENT), str(site.master / "master"))
    with (site.folder / "salt_client.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=dict(site.env),
            limit=2**24,
            start_new_session=True,
        )
    client = Client(process)
    try:
        await _present(context, size, master, client)
        await asyncio.sleep(size.settle_s)
        calls = await _calls(context, size, client)
        shells = await _shells(context, size, site)
        for minion in minions:
            minion.check()
        return Findings(
            calls_s=tuple(calls),
            shells_s=tuple(shells),
            node_mib=tuple(memory_mib(minion.pid) for minion in minions),
            center_mib=memory_mib(master.pid),
        )
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.shield(process.wait())


async def _present(context: Context, size: Size, master: Running, client: Client) -> None:
    """Until each minion has answered one ping that was sent to all."""
    answer: dict[str, Any] = {}
    try:
        async with asyncio.timeout(PRESENT_WITHIN_S):
            seen = -1
            while seen < size.nodes:
                master.check()
                answer = await client.ask("test.ping", timeout_s=PING_TIMEOUT_S)
                answers = len(answer["answers"])
                if answers != seen:
                    context.say(f"{answers} of {size.nodes} salt-minions answer")
                seen = answers
                await asyncio.sleep(1)
    except TimeoutError as exc:
        raise BenchError(
            f"the salt-minions were not all there within {PRESENT_WITHIN_S:g} s "
            f"({answer.get('error')}):\n{master.log_end()}"
        ) from exc


async def _calls(context: Context, size: Size, client: Client) -> list[float]:
    seconds = []
    for number in range(size.warm_up + size.calls):
        answer = await client.ask("cmd.run", "uptime")
        if answer["error"]:
            raise BenchError(f"LocalClient.cmd: {answer['error']}")
        check_answers("\n".join(answer["answers"].values()), size.nodes, "LocalClient.cmd")
        if number >= size.warm_up:
            seconds.append(float(answer["seconds"]))
    context.say(f"LocalClient, {len(seconds)} calls: {sorted(seconds)[len(seconds) // 2]:.3f} s")
    return seconds


async def _shells(context: Context, size: Size, site: Site) -> list[float]:
    argv = (str(site.bin / "salt"), "-c", str(site.master), "*", "cmd.run", "uptime")
    seconds = []
    for number in range(1 + size.shells):
        called = await call(argv, site.env)
        check_answers(called.out, size.nodes, "salt")
        if number:
            seconds.append(called.seconds)
    context.say(f"salt, {len(seconds)} times: {sorted(seconds)[len(seconds) // 2]:.3f} s")
    return seconds
