"""``net-probe`` and names: the machine's own way, a server that is asked, and one that does not answer."""

import asyncio
import contextlib
import ipaddress
import os
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import eventually
from edge.probe_bench import code, probe, result
from farshore_edge.commands.verbs.probe import dns, dns_wire
from farshore_edge.commands.verbs.probe.model import ProbeError
from farshore_protocol.codec import convert
from farshore_protocol.commands import VERBS
from hypothesis import given
from hypothesis import strategies as st


async def test_a_name_is_looked_up_as_the_machine_does_it() -> None:
    found = result(await probe(kind="dns", host="localhost", family="ipv4"))
    assert found["addresses"] == ["127.0.0.1"]
    assert found["records"] == [{"type": "A", "ttl_s": None, "value": "127.0.0.1"}]
    assert found["times_ms"]["max"] > 0


async def test_a_name_that_stands_for_nothing() -> None:
    outcome = await probe(kind="dns", host="no-such-host.invalid", wait_s=5)
    assert code(outcome) in ("no_such_name", "timed_out")
    outcome = await probe(kind="tcp", host="no-such-host.invalid", port=1, wait_s=5)
    assert code(outcome) in ("no_such_name", "timed_out")


class DnsServer(asyncio.DatagramProtocol):
    """Answers each question with the same sections; ``silent`` with nothing."""

    def __init__(self, records: bytes, count: int, code: int = 0, *, silent: bool = False) -> None:
        self.records, self.count, self.code, self.silent = records, count, code, silent
        self.asked: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked.append(data)
        if self.silent:
            return
        late = bytes([data[0] ^ 1]) + data[1:]
        head = struct.pack("!2s5H", data[:2], 0x8180 | self.code, 1, self.count, 0, 0)
        self.transport.sendto(late, addr)  # an answer to another question is not taken
        self.transport.sendto(head + data[12:] + self.records, addr)


def record(kind: int, data: bytes) -> bytes:
    return b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 300, len(data)) + data


async def asked(there: DnsServer, **args: Any) -> Any:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: there, ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        given_args = convert(VERBS["net-probe"].args, {"kind": "dns", **args})
        return await dns.by_server(given_args, args["host"], "127.0.0.1", port)
    finally:
        transport.close()


async def test_records_of_a_server_are_read() -> None:
    records = (
        record(1, bytes([10, 0, 0, 7]))
        + record(28, ipaddress.ip_address("fe80::7").packed)
        + record(15, b"\x00\x0a\x04mail\xc0\x0c")
        + record(16, b"\x03abc\x02de")
        + record(33, struct.pack("!3H", 1, 2, 443) + b"\xc0\x0c")
        + record(9999, b"??")
    )
    found = await asked(DnsServer(records, 6), host="x.example", record="A", server="127.0.0.1")
    assert [(r["type"], r["value"]) for r in found["records"]] == [
        ("A", "10.0.0.7"),
        ("AAAA", "fe80::7"),
        ("MX", "10 mail.x.example"),
        ("TXT", "abcde"),
        ("SRV", "1 2 443 x.example"),
    ]
    assert {r["ttl_s"] for r in found["records"]} == {300}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (DnsServer(b"", 0, 3), "no_such_name"),
        (DnsServer(b"", 0, 5), "refused"),
        (DnsServer(b"", 0, silent=True), "no_answer"),
        (DnsServer(b"\xff\xff", 9), "bad_answer"),
    ],
)
async def test_a_server_that_has_no_answer(server: DnsServer, expected: str) -> None:
    with pytest.raises(ProbeError) as caught:
        await asked(server, host="x.example", server="127.0.0.1", wait_s=0.5)
    assert caught.value.code == expected


async def test_addresses_are_asked_for_backwards() -> None:
    server = DnsServer(record(12, b"\x04host\xc0\x0c"), 1)
    await asked(server, host="10.0.0.7", record="PTR", server="127.0.0.1")
    assert b"\x017\x010\x010\x0210\x07in-addr\x04arpa" in server.asked[0]


@given(st.binary(max_size=600))
def test_no_bytes_break_the_reading_of_an_answer(data: bytes) -> None:
    for framed in (data, struct.pack("!6H", 7, 0x8180, 0, 3, 0, 0) + data):
        with contextlib.suppress(dns_wire.WireError):
            dns_wire.answer(framed, 7)


class Mute:
    """A resolver that never answers."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pid(self) -> int:
        return int(self._file.read_text() or 0) if self._file.exists() else 0

    def gone(self) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid(), 0)
            return False
        return True


@pytest.fixture
def mute_resolver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mute:
    from farshore_edge.commands.verbs.probe import names

    pid = tmp_path / "pid"
    script = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    monkeypatch.setattr(names, "_ASK", script)
    return Mute(pid)


async def test_cancelled_it_leaves_no_thread_and_no_process(mute_resolver: Mute) -> None:
    threads = set(threading.enumerate())
    looking = asyncio.create_task(probe(kind="tcp", host="x.example", port=1, wait_s=30))
    await eventually(mute_resolver.pid)
    looking.cancel()
    await asyncio.wait([looking], timeout=20)
    assert looking.cancelled()
    assert mute_resolver.gone()
    assert set(threading.enumerate()) <= threads


async def test_a_resolver_that_does_not_answer_times_out(mute_resolver: Mute) -> None:
    outcome = await probe(kind="tcp", host="x.example", port=1, wait_s=0.1)
    assert code(outcome) == "timed_out"
    assert mute_resolver.gone()
