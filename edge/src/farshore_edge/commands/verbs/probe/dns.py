"""The kind ``dns``: the machine's own resolver, or a question to one server over UDP."""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from dataclasses import asdict
from pathlib import Path

from farshore_protocol.commands.catalogue import NetProbeArgs

from farshore_edge.commands.verbs.probe import dns_wire
from farshore_edge.commands.verbs.probe.model import Attempts, Found, ProbeError, attempts, clock_ms
from farshore_edge.commands.verbs.probe.names import way_to

PORT = 53
RESOLV_CONF = Path("/etc/resolv.conf")
DATAGRAM_BYTES = 4096


async def by_resolver(args: NetProbeArgs, host: str) -> tuple[Found, tuple[str, ...]]:
    """What the machine itself would do with the name; and its addresses."""
    made = Attempts()
    addresses: tuple[str, ...] = ()
    for number in range(args.count or 1):
        if number:
            await asyncio.sleep(args.interval_s)
        made.sent += 1
        try:
            way = await way_to(host, args.family, args.wait_s)
        except ProbeError as exc:
            made.errors[str(exc)] += 1
            failed = exc
        else:
            made.took_ms.append(way.lookup_ms or 0.0)
            addresses = way.addresses
    found = made.found()
    if not made.took_ms:
        raise ProbeError(failed.code, str(failed), found)
    records = [{"type": _kind(each), "ttl_s": None, "value": each} for each in addresses]
    return {**found, "lookup_ms": made.took_ms[-1], "records": records}, addresses


async def by_server(args: NetProbeArgs, host: str, server: str, port: int = PORT) -> Found:
    """``server``: an address. One question for each attempt, the last answer is shown."""
    kind = args.record if args.record != "address" else ("AAAA" if args.family == "ipv6" else "A")
    answers: list[dns_wire.Answer] = []
    name = _reversed(host) if kind == "PTR" else host

    async def once() -> float:
        began = clock_ms()
        answers.append(await _asked(server, port, name, kind))
        return clock_ms() - began

    try:
        made = await attempts(args.count or 1, args.interval_s, args.wait_s, once)
    except dns_wire.WireError as exc:
        raise ProbeError("bad_answer", f"{server}: {exc}") from exc
    found = made.found()
    if not answers:
        raise ProbeError("no_answer", f"{server} did not answer: {made.told()}", found)
    last = answers[-1]
    found["records"] = [asdict(record) for record in last.records]
    if last.code:
        told = dns_wire.CODES.get(last.code, f"code {last.code}")
        raise ProbeError("no_such_name" if last.code == 3 else "refused", f"{host}: {told}", found)
    if last.cut:
        found["errors"] = {"the answer was cut: it does not fit into one datagram": 1}
    return found


async def _asked(server: str, port: int, name: str, kind: str) -> dns_wire.Answer:
    loop = asyncio.get_running_loop()
    number = secrets.randbelow(65_536)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as ours:
        ours.setblocking(False)
        await loop.sock_connect(ours, (server, port))
        await loop.sock_sendall(ours, dns_wire.question(number, name, kind))
        while True:
            data = await loop.sock_recv(ours, DATAGRAM_BYTES)
            if data[:2] == number.to_bytes(2, "big"):  # else it is late, and another question's
                return dns_wire.answer(data, number)


def own_server() -> str | None:
    """The first server of the machine's resolver, for records that the system's call can't give."""
    with contextlib.suppress(OSError):
        for line in RESOLV_CONF.read_text("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                return words[1]
    return None


def _reversed(host: str) -> str:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).reverse_pointer
    return host


def _kind(address: str) -> str:
    return "AAAA" if ":" in address else "A"
