"""What a name stands for, by the machine's own resolver (hosts file, DNS, mDNS: whatever it has).

The system's call can't be cancelled and may take half a minute, so that it runs in a program of its own
that can be ended: no thread is left hanging.
"""

import contextlib
import ipaddress
import sys
from typing import Any

import msgspec

from farshore_edge.commands.verbs.probe.model import ProbeError, Way
from farshore_edge.config.programs import HostPrograms

ADDRESSES_MOST = 16
SAID_BYTES = 256 * 1024
_ASK = """
import json, socket, sys, time
began = time.perf_counter()
try:
    found = socket.getaddrinfo(sys.argv[1], None, int(sys.argv[2]), socket.SOCK_STREAM)
    said = {"addresses": [each[4][0] for each in found]}
except (OSError, UnicodeError) as exc:
    said = {"error": getattr(exc, "strerror", None) or str(exc)}
print(json.dumps({**said, "ms": (time.perf_counter() - began) * 1000}))
"""
_FAMILIES = {"any": 0, "ipv4": 2, "ipv6": 10}


async def way_to(host: str, family: str, wait_s: float) -> Way:
    """Raises ProbeError where the name stands for nothing of this family."""
    if (address := _address(host)) is not None:
        if family != "any" and family != f"ipv{address.version}":
            raise ProbeError("bad_args", f"family: {host} is an address of IPv{address.version}")
        return Way(host=host, addresses=(host.strip("[]"),))
    said = await _ask(host, family, wait_s)
    took_ms = round(float(said.get("ms", 0)), 3)
    addresses = tuple(dict.fromkeys(said.get("addresses", ())))[:ADDRESSES_MOST]
    if not addresses:
        why = said.get("error") or "no address of this family"
        message = f"{host}: {why}"
        raise ProbeError("no_such_name", message, {"lookup_ms": took_ms})
    return Way(host=host, addresses=addresses, lookup_ms=took_ms)


async def _ask(host: str, family: str, wait_s: float) -> dict[str, Any]:
    argv = [sys.executable, "-I", "-S", "-c", _ASK, host, str(_FAMILIES[family])]
    try:
        # The interpreter's own start counts, on a small machine half a second.
        ended = await HostPrograms().run(argv, timeout_s=wait_s + 2, output_bytes=SAID_BYTES)
    except (OSError, ValueError) as exc:
        raise ProbeError("broken", f"the resolver can't be asked: {exc}") from exc
    if ended.code is None:
        raise ProbeError("timed_out", f"{host}: the resolver did not answer within {wait_s:g} s")
    with contextlib.suppress(msgspec.MsgspecError):
        first = ended.output.partition("\n")[0]
        said: dict[str, Any] = msgspec.json.decode(first, type=dict[str, Any])
        return said
    raise ProbeError("broken", f"the resolver can't be asked: {ended.output[-400:]}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]"))
    return None
