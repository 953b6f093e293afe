"""What a probe found, in the one line that a person reads first. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

Result = Mapping[str, Any]


def summary(result: Result) -> str:
    """``result``: fields of a NetProbeResult; any may be missing."""
    told = _KINDS[result["kind"]](result)
    addresses = result.get("addresses") or ()
    where = str(result["target"])
    if addresses and addresses[0] not in where:
        where += f" ({addresses[0]})"
    return f"{where}: {told}"


def _attempts(result: Result) -> str:
    sent, answered = result.get("sent", 0), result.get("answered", 0)
    said = f"{answered} of {sent} answered"
    if times := result.get("times_ms"):
        said += f", {times['min']:.1f}/{times['avg']:.1f}/{times['max']:.1f} ms"
    if errors := result.get("errors"):
        said += ", " + ", ".join(f"{often} {what}" for what, often in errors.items())
    return said


def _dns(result: Result) -> str:
    records = result.get("records")
    if not records:
        return "nothing found"
    shown = ", ".join(f"{each['type']} {each['value']}" for each in records[:4])
    more = f" and {len(records) - 4} more" if len(records) > 4 else ""
    times = result.get("times_ms")
    return shown + more + (f" in {times['avg']:.1f} ms" if times else "")


def _http(result: Result) -> str:
    http = result.get("http") or {}
    said = []
    if "status" in http:
        said.append(f"{http['status']} {http.get('reason', '')}".strip())
    for name, word in (
        ("dns_ms", "DNS"), ("connect_ms", "connect"), ("tls_ms", "TLS"), ("first_byte_ms", "first byte"),
    ):  # fmt: skip
        if http.get(name) is not None:
            said.append(f"{word} {http[name]:.1f} ms")
    left = (http.get("certificate") or {}).get("days_left")
    if left is not None:
        said.append(f"certificate good for {left:g} days" if left > 0 else "certificate has ended")
    return ", ".join(said) or "no answer"


def _path_mtu(result: Result) -> str:
    found = result.get("path_mtu")
    if not found or not found["confirmed"]:
        return "no answer to packets of any size"
    said = f"packets of up to {found['mtu']} bytes pass"
    if found["black_hole"]:
        return f"{said}; larger ones vanish without a word"
    return f"{said} (interface {found['interface_mtu']})"


_KINDS: Mapping[str, Callable[[Result], str]] = {
    "dns": _dns,
    "tcp": _attempts,
    "icmp": _attempts,
    "http": _http,
    "path-mtu": _path_mtu,
}
