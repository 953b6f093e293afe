"""``net-probe`` against real sockets on this machine; what answers wrongly, late or never is told."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from edge.probe_bench import closed_port, code, probe, result, serving
from farshore_edge.commands.policy import Accepted, Policy, Refused, judge
from farshore_edge.commands.verbs.probe import echo
from farshore_edge.commands.verbs.probe.summary import summary
from farshore_edge.errors import SettingsError
from farshore_edge.settings import load
from farshore_edge.targets import Targets
from farshore_protocol.commands import VERBS, Command
from hypothesis import given
from hypothesis import strategies as st

IPV6 = Path("/proc/net/if_inet6").exists()


# Arguments and where it may look


@pytest.mark.parametrize(
    "args",
    [
        {"kind": "tcp", "host": "x"},
        {"kind": "tcp", "port": 80},
        {"kind": "icmp", "host": "x", "port": 80},
        {"kind": "http", "host": "x"},
        {"kind": "http", "url": "ftp://x"},
        {"kind": "http", "url": "http://x\r\nHost: y"},
        {"kind": "dns", "host": "-f /etc/passwd"},
        {"kind": "icmp", "host": "x", "server": "1.1.1.1"},
        {"kind": "tcp", "host": "x", "port": 80, "count": 1000},
        {"kind": "smoke", "host": "x"},
    ],
)
def test_arguments_that_do_not_fit_are_refused(args: dict[str, Any]) -> None:
    verdict = judge("net-probe", Command(args=args), policy=Policy(), known=VERBS, center_ms=None)
    assert isinstance(verdict, Refused)
    assert verdict.error.code == "bad_args"


def test_it_is_taken_unsigned() -> None:
    args = {"kind": "icmp", "host": "10.0.0.1"}
    verdict = judge("net-probe", Command(args=args), policy=Policy(), known=VERBS, center_ms=None)
    assert isinstance(verdict, Accepted)


async def test_it_looks_only_where_the_node_allows() -> None:
    nowhere = Targets(["center.example"])
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        for args in (
            {"kind": "tcp", "host": "127.0.0.1", "port": port},
            {"kind": "tcp", "host": "localhost", "port": port},
            {"kind": "http", "url": f"http://127.0.0.1:{port}/"},
            {"kind": "icmp", "host": "127.0.0.1"},
            {"kind": "path-mtu", "host": "127.0.0.1"},
            {"kind": "dns", "host": "x.example", "server": "127.0.0.1"},
        ):
            outcome = await probe(nowhere, **args)
            assert code(outcome) == "not_allowed", args
            assert "probe_targets" in (outcome.error.message if outcome.error else "")
            assert not result(outcome).get("answered")
        allowed = Targets(["127.0.0.0/8", "::1"])
        assert (await probe(allowed, kind="tcp", host="localhost", port=port)).error is None


@pytest.mark.parametrize(
    ("allowed", "host", "addresses", "fits"),
    [
        (["*"], "anything", [], True),
        (["a.example"], "A.example.", ["1.2.3.4"], True),
        (["a.example"], "b.a.example", ["1.2.3.4"], False),
        (["*.example"], "b.a.example", ["1.2.3.4"], True),
        (["*.example"], "example", ["1.2.3.4"], False),
        (["10.0.0.0/8"], "inside", ["10.1.2.3"], True),
        (["10.0.0.0/8"], "both", ["10.1.2.3", "8.8.8.8"], False),
        (["10.0.0.0/8"], "nothing", [], False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", ["::ffff:10.1.2.3"], True),
        (["10.1.2.3"], "10.1.2.3", ["10.1.2.3"], True),
        (["fe80::/10"], "fe80::1%eth0", ["fe80::1%eth0"], True),
        ([], "x", ["1.2.3.4"], False),
    ],
)
def test_names_and_networks(
    allowed: list[str], host: str, addresses: list[str], fits: bool
) -> None:
    assert Targets(allowed).allows(host, addresses) is fits


@pytest.mark.parametrize("word", ["10.0.0.0/99", "a b", "http://x", "*.*.x", "x/8", "", "-x"])
def test_words_that_are_no_target(word: str) -> None:
    if word:  # an empty one in a list is left out
        with pytest.raises(SettingsError, match="probe_targets"):
            load({"node": "n", "probe_targets": [word]}, {})
    else:
        assert load({"node": "n", "probe_targets": [word]}, {}).settings.probe_targets == ()


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            {
                "kind": "tcp", "target": "x port 80", "addresses": ["10.0.0.1"], "sent": 3, "answered": 2,
                "times_ms": {"min": 1.0, "avg": 1.5, "max": 2.0}, "errors": {"timed out": 1},
            },
            "x port 80 (10.0.0.1): 2 of 3 answered, 1.0/1.5/2.0 ms, 1 timed out",
        ),
        (
            {"kind": "icmp", "target": "10.0.0.1", "addresses": ["10.0.0.1"], "sent": 3},
            "10.0.0.1: 0 of 3 answered",
        ),
        (
            {
                "kind": "dns", "target": "x", "addresses": [],
                "records": [{"type": "A", "value": f"10.0.0.{n}"} for n in range(6)],
                "times_ms": {"min": 1.0, "avg": 1.5, "max": 2.0},
            },
            "x: A 10.0.0.0, A 10.0.0.1, A 10.0.0.2, A 10.0.0.3 and 2 more in 1.5 ms",
        ),
        (
            {
                "kind": "http", "target": "https://x/", "addresses": ["10.0.0.1"],
                "http": {
                    "status": 200, "reason": "OK", "dns_ms": 1.0, "connect_ms": 2.0, "tls_ms": 3.0,
                    "first_byte_ms": 4.0, "certificate": {"days_left": 12.5},
                },
            },
            "https://x/ (10.0.0.1): 200 OK, DNS 1.0 ms, connect 2.0 ms, TLS 3.0 ms, first byte 4.0 ms, "
            "certificate good for 12.5 days",
        ),
        (
            {
                "kind": "path-mtu", "target": "x", "addresses": ["10.0.0.1"],
                "path_mtu": {
                    "mtu": 1400, "interface_mtu": 1500, "confirmed": True, "black_hole": True,
                },
            },
            "x (10.0.0.1): packets of up to 1400 bytes pass; larger ones vanish without a word",
        ),
        ({"kind": "path-mtu", "target": "x", "addresses": []}, "x: no answer to packets of any size"),
        ({"kind": "http", "target": "http://x", "addresses": []}, "http://x: no answer"),
        ({"kind": "dns", "target": "x", "addresses": []}, "x: nothing found"),
    ],
)  # fmt: skip
def test_a_probe_in_one_line(found: dict[str, Any], line: str) -> None:
    assert summary(found) == line


# TCP


async def test_tcp_takes_its_time_several_times_over() -> None:
    async with serving(b"") as port:
        found = result(await probe(kind="tcp", host="localhost", port=port, count=4, interval_s=0))
    assert (found["sent"], found["answered"]) == (4, 4)
    assert 0 < found["times_ms"]["min"] <= found["times_ms"]["avg"] <= found["times_ms"]["max"]
    assert "127.0.0.1" in found["addresses"]
    assert found["lookup_ms"] > 0


async def test_a_closed_port_is_told_as_refused() -> None:
    outcome = await probe(kind="tcp", host="127.0.0.1", port=closed_port(), interval_s=0)
    assert code(outcome) == "no_connection"
    assert result(outcome)["errors"] == {"refused": 3}


async def test_a_port_that_takes_nobody_times_out_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = []
        for _ in range(3):  # its queue is full then, and the kernel drops what comes
            one = socket.socket()
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(full.getsockname())
            crowd.append(one)
        port = full.getsockname()[1]
        outcome = await probe(kind="tcp", host="127.0.0.1", port=port, count=2, wait_s=0.2)
        for one in crowd:
            one.close()
    assert code(outcome) == "no_connection"
    assert result(outcome)["errors"] == {"timed out": 2}


# ICMP


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_echoes_come_back(host: str) -> None:
    if host == "::1" and not IPV6:
        pytest.skip("this machine has no IPv6")
    outcome = await probe(kind="icmp", host=host, count=3, interval_s=0.01, size=200)
    if outcome.error is not None:
        assert code(outcome) == "not_permitted", outcome
        assert "ping_group_range" in outcome.error.message
        assert os.geteuid() != 0, "root may always"
        return
    assert result(outcome)["answered"] == 3


async def test_without_the_right_to_send_echoes_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.socket

    def refused(family: int = 2, kind: int = 1, protocol: int = 0, *more: Any) -> socket.socket:
        if protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
            raise PermissionError(1, "Operation not permitted")
        return real(family, kind, protocol, *more)

    monkeypatch.setattr(socket, "socket", refused)
    outcome = await probe(kind="icmp", host="127.0.0.1")
    assert code(outcome) == "not_permitted"
    assert "CAP_NET_RAW" in (outcome.error.message if outcome.error else "")


@given(st.binary(min_size=2, max_size=100))
def test_a_message_with_its_checksum_sums_to_nothing(data: bytes) -> None:
    if len(data) % 2:
        data += b"\0"
    total = echo.checksum(data)
    assert echo.checksum(data + total.to_bytes(2, "big")) == 0
