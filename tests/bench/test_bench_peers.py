"""The bench beside peers: what its figures come to, and that its herds leave nothing behind.

The peers themselves are not installed here.
"""

import asyncio
import json
import re
import signal
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.context import Context
from bench.errors import BenchError
from bench.peers import __main__ as program
from bench.peers import ansible_side, farshore_side, salt_side
from bench.peers.findings import Findings, summarise
from bench.peers.herd import Program, family, herd, is_there, memory_mib
from bench.peers.install import HERE, clean_environment, folder_of
from bench.peers.picture import decades, picture
from bench.peers.shell import call, check_answers
from bench.peers.size import Size
from bench.report import Circumstances, report

DEADLINE_S = 60.0
OWN = Findings(
    calls_s=(0.1, 0.2, 0.3), shells_s=(0.4, 0.5, 0.6), node_mib=(20.0, 22.0), center_mib=100.0
)
SALT = Findings(
    calls_s=(2.0, 1.9, 9.0), shells_s=(1.6, 1.4, 1.5), node_mib=(70.0, 80.0), center_mib=400.0
)
ANSIBLE = Findings(shells_s=(9.0, 10.0, 12.0))


def made(**found: Findings) -> dict[str, Any]:
    where = Circumstances(
        date="2026-03-01T10:00:00+00:00",
        quick=True,
        machine={"cpu": "<fast>", "cores": 2, "memory_bytes": 1, "system": "s", "kernel": "k"},
        versions={},
        load_before=[0.1, 0.2, 0.3],
        load_after=[0.1, 0.2, 0.3],
    )
    return report(where, [summarise(2, found, [("salt", [1.5, 1.0, 0.5])])], [])


def test_medians_are_compared_side_by_side() -> None:
    promises = made(farshore=OWN, salt=SALT, ansible=ANSIBLE)["promises"]
    found = {each["name"]: (each["measured"], each["promised"], each["held"]) for each in promises}
    assert found == {
        "peers.call": (10.0, 10.0, True),
        "peers.shell": (3.0, 3.0, True),
        "peers.ansible": (50.0, 50.0, True),
    }
    slower = Findings(calls_s=(0.21,), shells_s=(0.51,))
    broken = made(farshore=slower, salt=SALT, ansible=ANSIBLE)["promises"]
    assert [each["held"] for each in broken] == [False, False, False]


def test_memory_and_load_stand_beside() -> None:
    figures = {f["name"]: f["runs"]["median"] for f in made(farshore=OWN, salt=SALT)["figures"]}
    assert figures["peers.farshore.nodes"] == 42.0
    assert figures["peers.salt.nodes"] == 150.0
    assert figures["peers.salt.center"] == 400.0
    assert figures["peers.salt.load"] == 1.5


def test_a_peer_that_was_not_measured_has_no_promise() -> None:
    assert [each["name"] for each in made(farshore=OWN, ansible=ANSIBLE)["promises"]] == [
        "peers.ansible"
    ]
    assert made(farshore=OWN)["promises"] == []


@pytest.mark.parametrize("peers", [{}, {"salt": SALT}, {"salt": SALT, "ansible": ANSIBLE}])
def test_the_picture_has_a_bar_for_each_side(peers: dict[str, Findings]) -> None:
    found = made(farshore=OWN, **peers)
    drawn = ElementTree.fromstring(picture(found))  # noqa: S314 # our own drawing
    bars = drawn.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 2 * len(found["promises"])
    assert all(float(bar.get("width", "0")) > 0 for bar in bars)


def test_the_axis_holds_everything() -> None:
    assert decades([0.05, 12.0]) == (-2, 2)
    assert decades([0.1]) == (-1, 0)
    assert decades([]) == (-2, 1)


@pytest.mark.parametrize("peer", sorted(program.PEERS))
def test_what_is_installed_is_pinned_and_names_no_host(peer: str) -> None:
    text = (HERE / f"{peer}.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    assert program._version(peer)


def test_an_environment_is_used_again_until_its_packages_change(tmp_path: Path) -> None:
    assert folder_of("salt", "a==1", tmp_path) == folder_of("salt", "a==1", tmp_path)
    assert folder_of("salt", "a==1", tmp_path) != folder_of("salt", "a==2", tmp_path)


def test_peers_are_not_steered_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_FORKS", "1")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    env = clean_environment(tmp_path)
    assert {"ANSIBLE_FORKS", "PYTHONPATH"} & env.keys() == set()
    assert env["HOME"] == str(tmp_path)


def test_salt_is_configured_for_loopback_and_otherwise_left_as_it_is(tmp_path: Path) -> None:
    site = salt_side.Site(
        folder=tmp_path, bin=tmp_path, env={}, publish_port=1001, request_port=1002
    )
    master, minion = salt_side.master_config(site), salt_side.minion_config(site, "node-01")
    assert master["interface"] == minion["master"] == "127.0.0.1"
    assert (master["publish_port"], master["ret_port"]) == (1001, 1002)
    assert (minion["publish_port"], minion["master_port"]) == (1001, 1002)
    salt_side.write_config(tmp_path / "node-01", "minion", minion)
    assert json.loads((tmp_path / "node-01" / "minion").read_text()) == minion


def test_ansible_has_a_host_for_each_node() -> None:
    lines = ansible_side.inventory(["node-01", "node-02"]).splitlines()
    assert [line.split()[0] for line in lines] == ["node-01", "node-02"]
    assert all("ansible_connection=local" in line for line in lines)


async def test_a_call_that_fails_or_did_not_do_the_work_has_no_figure() -> None:
    called = await call([sys.executable, "-c", "print('load average: 1')"])
    check_answers(called.out, 1, "it")
    assert called.seconds > 0
    with pytest.raises(BenchError, match="1 of 2 nodes answered"):
        check_answers(called.out, 2, "it")
    with pytest.raises(BenchError, match=r"(?s)exit code 3.*last words"):
        await call([sys.executable, "-c", "import sys; print('last words'); sys.exit(3)"])


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 # of other processes there are no events
            await asyncio.sleep(0.05)


STUBBORN = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal, time\\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
signal.pause()
"""


@pytest.mark.processes
async def test_a_herd_takes_its_grandchildren_with_it(tmp_path: Path) -> None:
    """Also one that does not listen to SIGTERM, of a parent that ends at once."""
    log = tmp_path / "log"
    argv = (sys.executable, "-c", STUBBORN)
    async with herd([Program(name="stubborn", argv=argv, log=log)]) as (running,):
        await until(lambda: log.read_text().endswith("\n"))
        members = family(running.pid)
        assert {int(log.read_text())} < {member.pid for member in members}
        assert all(is_there(member) for member in members)
        assert memory_mib(running.pid) > 1
    await until(lambda: not any(is_there(member) for member in members))  # init takes note late


@pytest.mark.processes
async def test_our_own_side_with_three_real_agents(tmp_path: Path) -> None:
    context = Context(quick=True, data=tmp_path, say=lambda _text: None)
    size = Size(nodes=3, calls=2, shells=1, settle_s=0.0, warm_up=0)
    found = await farshore_side.run(context, size)
    assert len(found.calls_s) == 2
    assert len(found.shells_s) == 1
    assert len(found.node_mib) == 3
    assert all(5 < each < 200 for each in found.node_mib)


@pytest.mark.processes
async def test_when_it_is_ended_nothing_is_left() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ONE_SIDE), stderr=asyncio.subprocess.PIPE, cwd=HERE.parents[1]
    )
    assert process.stderr is not None
    async with asyncio.timeout(DEADLINE_S):
        said = b""
        while b"farshore-agents start" not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line
        members = family(process.pid)
        process.send_signal(signal.SIGINT)
        rest = await process.stderr.read()
        assert await process.wait() == 130
        assert b"no report was written" in rest
    await until(lambda: not any(is_there(member) for member in members))
    assert len(members) >= 2  # itself and the center, at least


ONE_SIDE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from bench.peers import __main__ as program
program.PEERS.clear()
sys.exit(program.main(["--nodes", "2", "--quick"]))
"""


def test_the_page_says_what_it_takes_and_what_is_promised() -> None:
    page = (HERE.parents[1] / "docs" / "bench-peers.md").read_text()
    for word in ("--only", "--nodes", "--quick", "--json", *program.PEERS):
        assert f"`{word}" in page
    for each in made(farshore=OWN, salt=SALT, ansible=ANSIBLE)["promises"]:
        assert f"| `{each['name']}` | ≥ {each['promised']:g} × |" in page


@pytest.mark.parametrize("words", [["--nodes", "0"], ["--nodes", "many"], ["--only", "chef"]])
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.options(words)
    assert ended.value.code == 2
    assert "expected" in (said := capsys.readouterr().err) or "choose from" in said
