"""``net-probe`` as a verb: whether the node may look there, and what it found."""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import NetProbeArgs
from farshore_protocol.commands.catalogue.network import NetProbeResult

from farshore_edge.commands.verbs.model import Context, Handler, Outcome
from farshore_edge.commands.verbs.probe import dns, http, icmp, path_mtu, tcp
from farshore_edge.commands.verbs.probe.model import Found, ProbeError, Way
from farshore_edge.commands.verbs.probe.names import way_to
from farshore_edge.commands.verbs.probe.summary import summary
from farshore_edge.targets import Targets

_BY_WAY = {"tcp": tcp.probe, "icmp": icmp.probe, "path-mtu": path_mtu.probe}
_PROBES_AT_ONCE = 4


def net_probe(
    targets: Targets,
    now_ms: Callable[[], int],
    *,
    tls: Callable[[bool], ssl.SSLContext] = http.tls_context,
) -> Handler:
    """``targets``: where it may look; ``tls``: contexts by whether to verify."""
    places = asyncio.Semaphore(_PROBES_AT_ONCE)

    async def handle(args: NetProbeArgs, _context: Context) -> Outcome:
        looked = _Looked(args, targets)
        async with places:
            try:
                found = await looked.at(now_ms, tls)
            except ProbeError as exc:
                error = CommandError(code=exc.code, message=str(exc))
                return Outcome(state="failed", error=error, result=looked.result(exc.found))
        return Outcome(result=looked.result(found))

    return handle


class _Looked:
    """One probe, and what is known of its target so far."""

    def __init__(self, args: NetProbeArgs, targets: Targets) -> None:
        self._args = args
        self._targets = targets
        self._way: Way | None = None
        self._addresses: tuple[str, ...] = ()

    def result(self, found: Found) -> dict[str, Any]:
        args, way = self._args, self._way
        where = args.url or args.host or ""
        target = f"{where} port {args.port}" if args.port else where
        known: Found = {"lookup_ms": None if way is None else way.lookup_ms}
        addresses = list(way.addresses if way is not None else self._addresses)
        result = NetProbeResult(
            kind=args.kind, target=target, addresses=addresses, **{**known, **found}
        )
        told = {key: value for key, value in asdict(result).items() if value is not None}
        return told | {"summary": summary(told)}

    async def at(self, now_ms: Callable[[], int], tls: Callable[[bool], ssl.SSLContext]) -> Found:
        args = self._args
        if args.kind == "dns":
            return await self._dns(args.host or "")
        if args.kind == "http":
            url = http.read_url(args.url or "")
            return await http.probe(args, url, await self._reach(url.host), now_ms, tls)
        return await _BY_WAY[args.kind](args, await self._reach(args.host or ""))

    async def _reach(self, host: str) -> Way:
        way = await way_to(host, self._args.family, self._args.wait_s)
        if not self._targets.allows(host, way.addresses):
            raise _closed(host)
        self._way = way
        return way

    async def _dns(self, host: str) -> Found:
        """The machine's own resolver may be asked for any name; another server must be allowed."""
        args = self._args
        server = args.server
        if server is None and args.record == "address":
            found, self._addresses = await dns.by_resolver(args, host)
            return found
        if server is None:
            server = await asyncio.to_thread(dns.own_server)
            if server is None:
                raise ProbeError("no_server", "server: this machine names none in /etc/resolv.conf")
        else:
            try:
                ipaddress.ip_address(server)
            except ValueError as exc:
                raise ProbeError("bad_args", f"server: {server!r}, expected an address") from exc
            if not self._targets.allows(server, (server,)):
                raise _closed(server)
        return await dns.by_server(args, host, server)


def _closed(host: str) -> ProbeError:
    message = (
        f"{host}: this node may not be asked to look there; its setting probe_targets says where "
        "(without it: only at its center)"
    )
    return ProbeError("not_allowed", message)
