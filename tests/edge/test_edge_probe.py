"""``net-probe`` against real sockets on this machine; what answers wrongly, late or never is told."""

import asyncio
import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from edge.edge_bench import eventually
from farshore_edge.commands.policy import Accepted, Policy, Refused, judge
from farshore_edge.commands.verbs import Context, Outcome
from farshore_edge.commands.verbs.probe import dns, dns_wire, echo, net_probe
from farshore_edge.commands.verbs.probe.certificate import CertificateError, not_after
from farshore_edge.commands.verbs.probe.model import ProbeError
from farshore_edge.commands.verbs.probe.summary import summary
from farshore_edge.errors import SettingsError
from farshore_edge.settings import load
from farshore_edge.targets import EVERYONE, Targets
from farshore_protocol.codec import convert
from farshore_protocol.commands import VERBS, Command, Output
from hypothesis import given
from hypothesis import strategies as st

IPV6 = Path("/proc/net/if_inet6").exists()
NOW_MS = 1_800_000_000_000
NOW = datetime.datetime.fromtimestamp(NOW_MS / 1000, datetime.UTC)


async def said(_chunk: Output) -> None:
    raise AssertionError("a probe writes no output")


async def probe(targets: Targets | None = None, tls: Any = None, **args: Any) -> Outcome:
    more = {} if tls is None else {"tls": tls}
    handler = net_probe(targets or Targets([EVERYONE]), lambda: NOW_MS, **more)
    context = Context(timeout_s=60, output_max_bytes=0, emit=said)
    outcome = await handler(convert(VERBS["net-probe"].args, args), context)
    convert(VERBS["net-probe"].result or dict, outcome.result)
    return outcome


def code(outcome: Outcome) -> str:
    assert outcome.error is not None, outcome
    return outcome.error.code


def result(outcome: Outcome) -> dict[str, Any]:
    assert outcome.result is not None, outcome
    return outcome.result


@contextlib.asynccontextmanager
async def serving(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answers the first line of whatever comes; the port."""

    open_ones: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here = asyncio.current_task()
        assert here is not None
        open_ones[here] = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if answer:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()  # never a word
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_ones.values():
            writer.transport.abort()
        if open_ones:
            await asyncio.wait(open_ones, timeout=10)
        await asyncio.sleep(0)  # asyncio closes what was cut in its next turn


def closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


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


# Names


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


# HTTP


async def test_http_tells_status_and_times_and_follows_nothing() -> None:
    head = b"HTTP/1.1 301 Moved\r\nServer: s\r\nLocation: http://127.0.0.1:1/x\r\n\r\nbody"
    async with serving(head) as port:
        found = result(await probe(kind="http", url=f"http://localhost:{port}/a?b=c"))
    http = found["http"]
    assert (http["status"], http["reason"], http["location"]) == (
        301,
        "Moved",
        "http://127.0.0.1:1/x",
    )
    assert http["tls_ms"] is None
    assert http["dns_ms"] > 0
    assert 0 < http["connect_ms"] <= http["total_ms"]
    assert 0 < http["first_byte_ms"] <= http["total_ms"]
    assert "body" not in str(found)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(b"SSH-2.0-x\r\n\r\n", "no_http"), (b"\xff" * 40_000, "no_http"), (b"", "timed_out")],
)
async def test_what_is_no_http(answer: bytes, expected: str) -> None:
    async with serving(answer) as port:
        outcome = await probe(kind="http", url=f"http://127.0.0.1:{port}/", wait_s=0.3)
    assert code(outcome) == expected


async def test_http_where_nobody_listens() -> None:
    outcome = await probe(kind="http", url=f"http://127.0.0.1:{closed_port()}/")
    assert code(outcome) == "no_answer"
    assert code(await probe(kind="http", url="http://me:secret@127.0.0.1/")) == "bad_args"


class Authority:
    """Makes a certificate for 127.0.0.1 that ends in so many days, signed by itself."""

    def __init__(self, folder: Path, days: float) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
        self.ends = (NOW + datetime.timedelta(days=days)).replace(microsecond=0)
        alternative = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
            .not_valid_after(self.ends)
            .add_extension(alternative, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.file = folder / "cert.pem"
        pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private = key.private_bytes(pem, plain, serialization.NoEncryption())
        self.file.write_bytes(certificate.public_bytes(pem) + private)

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context

    def client(self, verify: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.file))
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def test_https_tells_until_when_the_certificate_is_good(tmp_path: Path) -> None:
    authority = Authority(tmp_path, days=30)
    async with serving(b"HTTP/1.1 204 No Content\r\n\r\n", authority.server()) as port:
        url = f"https://127.0.0.1:{port}/"
        found = result(await probe(kind="http", url=url, tls=authority.client))["http"]
        assert found["status"] == 204
        assert found["tls_ms"] > 0
        assert found["certificate"]["not_after"] == authority.ends.isoformat()
        assert found["certificate"]["days_left"] == pytest.approx(30, abs=0.1)
        assert found["certificate"]["protocol"].startswith("TLSv1")
        refused = await probe(kind="http", url=url)
        assert code(refused) == "bad_certificate", "the machine's authorities do not know it"
        taken = result(await probe(kind="http", url=url, verify=False))["http"]
        assert taken["certificate"]["not_after"] == authority.ends.isoformat()


async def test_a_server_without_tls_is_told(tmp_path: Path) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        outcome = await probe(kind="http", url=f"https://127.0.0.1:{port}/", wait_s=1)
    assert code(outcome) in ("no_tls", "no_answer", "timed_out")


@pytest.mark.parametrize("days", [10, 365 * 40])  # UTCTime, and GeneralizedTime from 2050 on
def test_the_end_of_any_certificate_is_read(tmp_path: Path, days: float) -> None:
    authority = Authority(tmp_path, days)
    assert not_after(authority.der) == authority.ends


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading_of_a_certificate(data: bytes) -> None:
    with contextlib.suppress(CertificateError):
        not_after(data)


# Cancelled


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
