"""The largest packet of a path: pure searches, this machine's own way, and real routers in namespaces."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from farshore_edge.commands.verbs import Context
from farshore_edge.commands.verbs.probe import net_probe
from farshore_edge.commands.verbs.probe.mtu_search import LEAST, STEP_BYTES, MtuSearch
from farshore_edge.targets import EVERYONE, Targets
from farshore_protocol.codec import convert
from farshore_protocol.commands import VERBS
from hypothesis import given
from hypothesis import strategies as st

NAMESPACES = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["ip", "netns", "list"], check=False).returncode != 0,
    reason="network namespaces need root and the program ip",
)


@given(st.integers(576, 9000), st.integers(100, 9000), st.booleans(), st.sampled_from([4, 6]))
def test_the_search_ends_and_finds_it(interface: int, path: int, told: bool, version: int) -> None:
    search = MtuSearch(interface, version)
    while (size := search.size) is not None:
        assert 0 < size <= interface
        assert search.probes < 40
        if size <= path:
            search.arrived(size)
        elif told:
            search.too_big(size, path)
        else:
            search.vanished(size)
    best = min(interface, path)
    if best < min(LEAST[version], interface):
        assert search.passed == 0
    elif told or path >= interface:
        assert search.passed == best
    else:
        assert best - STEP_BYTES < search.passed <= best
    assert not (told and search.black_hole)


async def test_on_this_machine() -> None:
    async def said(_chunk: object) -> None:
        raise AssertionError

    handler = net_probe(Targets([EVERYONE]), lambda: 0)
    args = convert(VERBS["net-probe"].args, {"kind": "path-mtu", "host": "127.0.0.1"})
    outcome = await handler(args, Context(timeout_s=9, output_max_bytes=0, emit=said))
    found = (outcome.result or {})["path_mtu"]
    assert outcome.state == "succeeded"
    assert found["confirmed"]
    assert found["mtu"] == min(found["interface_mtu"], 9216)


ROUTED = """
link add {a}e netns {a} type veth peer name {r}e netns {r}
link add {b}e netns {b} type veth peer name {r}f netns {r}
-n {a} addr add 10.1.0.1/24 dev {a}e
-n {r} addr add 10.1.0.2/24 dev {r}e
-n {b} addr add 10.2.0.1/24 dev {b}e
-n {r} addr add 10.2.0.2/24 dev {r}f
-n {a} addr add fd01::1/64 dev {a}e nodad
-n {r} addr add fd01::2/64 dev {r}e nodad
-n {b} addr add fd02::1/64 dev {b}e nodad
-n {r} addr add fd02::2/64 dev {r}f nodad
-n {a} link set lo up
-n {b} link set lo up
-n {a} link set {a}e up
-n {b} link set {b}e up
-n {r} link set {r}e up
-n {r} link set {r}f up
-n {a} route add default via 10.1.0.2
-n {b} route add default via 10.2.0.2
-n {a} -6 route add default via fd01::2
-n {b} -6 route add default via fd02::2
"""
NO_DAD = "for each in all default; do echo 0 >/proc/sys/net/ipv6/conf/$each/accept_dad; done"
FORWARD = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"

# In the node's own namespace; with "udp" the kernel grants it no echoes.
PROBE = """
import asyncio, json, sys
from farshore_edge.commands.verbs.probe import echo, path_mtu
from farshore_edge.commands.verbs.probe.model import ProbeError, Way
from farshore_protocol.commands.catalogue import NetProbeArgs
host, method = sys.argv[1:]
def no_echo(way):
    raise ProbeError("not_permitted", "not here")
async def ready(way):
    small = echo.Echo(way)
    async with asyncio.timeout(30):
        while True:
            try:
                async with asyncio.timeout(0.2):
                    return await small.answered(await small.send(8))
            except (TimeoutError, OSError):
                await asyncio.sleep(0.05)
async def looked(way):
    await ready(way)  # neighbours of a new network take a moment to find each other
    args = NetProbeArgs(kind="path-mtu", host=host, wait_s=1)
    more = {"by_echo": no_echo} if method == "udp" else {}
    return await path_mtu.probe(args, way, **more)
found = asyncio.run(looked(Way(host=host, addresses=(host,))))
print(json.dumps(found["path_mtu"]))
"""


class Routed:
    """Two hosts and a router between them, each a network namespace."""

    def __init__(self) -> None:
        self.a, self.r, self.b = (f"fs{os.getpid() % 10_000}{each}" for each in "arb")

    def ip(self, words: str) -> None:
        subprocess.run(["ip", *words.format(**vars(self)).split()], check=True)

    def mtu(self, at: str, device: str, size: int) -> None:
        self.ip(f"-n {at} link set {device} mtu {size}")

    def probed(self, host: str, method: str = "icmp") -> dict[str, object]:
        argv = ["ip", "netns", "exec", self.a, sys.executable, "-c", PROBE, host, method]
        ended = subprocess.run(argv, check=False, capture_output=True, timeout=60)
        assert ended.returncode == 0, ended.stderr.decode()
        found: dict[str, object] = json.loads(ended.stdout)
        return found


@pytest.fixture
def routed() -> Iterator[Routed]:
    made = Routed()
    names = (made.a, made.r, made.b)
    try:
        for name in names:
            made.ip(f"netns add {name}")
            subprocess.run(["ip", "netns", "exec", name, "sh", "-c", NO_DAD], check=True)
        for line in ROUTED.strip().splitlines():
            made.ip(line)
        subprocess.run(["ip", "netns", "exec", made.r, "sh", "-c", FORWARD], check=True)
        yield made
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


@NAMESPACES
@pytest.mark.parametrize("method", ["icmp", "udp"])
@pytest.mark.parametrize(("host", "mtu"), [("10.2.0.1", 1400), ("fd02::1", 1396)])
def test_a_router_that_takes_less_is_found(
    routed: Routed, host: str, mtu: int, method: str
) -> None:
    routed.mtu(routed.r, f"{routed.r}f", mtu)
    found = routed.probed(host, method)
    assert found == {
        "mtu": mtu,
        "interface_mtu": 1500,
        "confirmed": True,
        "black_hole": False,
        "method": method,
        "probes": found["probes"],
    }


@NAMESPACES
def test_a_hole_that_swallows_large_packets_is_found(routed: Routed) -> None:
    """What is larger than the receiving end of a veth takes, it drops without a word."""
    routed.mtu(routed.r, f"{routed.r}e", 1300)
    found = routed.probed("10.2.0.1")
    assert found["black_hole"] is True
    assert found["confirmed"] is True
    assert isinstance(found["mtu"], int)
    assert 1300 - STEP_BYTES <= found["mtu"] <= 1304
