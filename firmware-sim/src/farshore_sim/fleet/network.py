"""The network around a simulated node, as ``net-probe`` sees it: made up, the same for the same seed.

Nothing leaves the process. Names that begin with ``no-`` stand for nothing, port 1 refuses, ``black-hole``
in a name swallows large packets: enough to try out what a tool makes of each answer.
"""

import asyncio
import ipaddress
import random
from dataclasses import replace
from typing import Any

from farshore_edge.commands.verbs import Context, Outcome
from farshore_edge.commands.verbs.probe.summary import summary
from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import NetProbeArgs


class SimulatedNetwork:
    def __init__(self, node: str, seed: int) -> None:
        self._node = node
        self._seed = seed

    async def probe(self, args: NetProbeArgs, context: Context) -> Outcome:
        outcome = await self._look(args, context)
        result = outcome.result or {}
        return replace(outcome, result=result | {"summary": summary(result)})

    async def _look(self, args: NetProbeArgs, _context: Context) -> Outcome:
        where = args.url or args.host or ""
        host = where.partition("://")[2].partition("/")[0] if args.url else where
        rng = random.Random(f"{self._seed}/{self._node}/{host}")  # noqa: S311 # replayable, no secret
        result: dict[str, Any] = {"kind": args.kind, "target": where, "addresses": []}
        if host.startswith("no-"):
            return _failed("no_such_name", f"{host}: no such name", result)
        addresses = [_address(host, rng)]
        far_ms = rng.uniform(5, 80)
        count = args.count or (3 if args.kind in ("tcp", "icmp") else 1)
        await asyncio.sleep(count * far_ms / 1000)
        took = [far_ms * rng.uniform(1, 1.3) for _ in range(count)]
        result |= {"addresses": addresses, "lookup_ms": round(far_ms / 2, 3), "sent": count}
        if args.kind == "tcp" and args.port == 1:
            result |= {"answered": 0, "errors": {"refused": count}}
            return _failed("no_connection", f"{host} port 1: refused ({count})", result)
        result |= {"answered": count, "times_ms": _times(took)}
        result |= _of_kind(args, addresses, host, far_ms)
        return Outcome(result=result)


def _of_kind(args: NetProbeArgs, addresses: list[str], host: str, far_ms: float) -> dict[str, Any]:
    match args.kind:
        case "dns":
            kind = "AAAA" if ":" in addresses[0] else "A"
            return {"records": [{"type": kind, "ttl_s": 300, "value": addresses[0]}]}
        case "http":
            steps = {"dns_ms": far_ms / 2, "connect_ms": far_ms, "first_byte_ms": far_ms * 2}
            rounded = {name: round(value, 3) for name, value in steps.items()}
            return {"http": {"status": 200, "reason": "OK", "server": "simulated", **rounded}}
        case "path-mtu":
            hole = "black-hole" in host
            found = {"mtu": 1400 if hole else 1500, "interface_mtu": 1500, "confirmed": True}
            return {"path_mtu": {**found, "black_hole": hole, "method": "simulated", "probes": 1}}
    return {}


def _address(host: str, rng: random.Random) -> str:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def _times(took: list[float]) -> dict[str, float]:
    found = {"min": min(took), "avg": sum(took) / len(took), "max": max(took)}
    return {name: round(value, 3) for name, value in found.items()}


def _failed(code: str, message: str, result: dict[str, Any]) -> Outcome:
    return Outcome(state="failed", result=result, error=CommandError(code=code, message=message))
