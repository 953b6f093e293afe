"""What must be true of a specification beyond each field alone. Pure."""

import ipaddress
import re
import signal
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from farshore_protocol.tasks import TaskSpec
from farshore_protocol.tasks.spec import Artifact, FromConfig, HealthCheck

from farshore_center.api.problems import FieldError
from farshore_center.jobs.windows import cron_fault, next_ms, zone

RESERVED = "FARSHORE_"
"""Variables that the agent sets itself begin so."""

MAX_ENV = 256

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_ESCAPE = re.compile(r"~(?![01])")


class Fault(NamedTuple):
    """One thing that is wrong; ``cause``: the error behind it, where there is one."""

    field: str
    detail: str
    expected: str = ""
    cause: Exception | None = None


def faults(spec: TaskSpec, now_ms: int) -> Iterator[Fault]:
    yield from _amounts(spec)
    yield from _schedule(spec, now_ms)
    yield from _environment(spec)
    if spec.health is not None:
        yield from _health(spec.health)
    for number, artifact in enumerate(spec.artifacts):
        yield from _artifact(f"artifacts.{number}", artifact)
    paths = [each.path for each in spec.artifacts if not each.unpack]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        yield Fault("artifacts", f"two of them go to {twice[0]!a}", "a path of its own for each")
    if spec.stop_signal not in signal.Signals.__members__:
        yield Fault("stop_signal", f"there is no signal {spec.stop_signal[:40]!a}", "as SIGTERM")


def _amounts(spec: TaskSpec) -> Iterator[Fault]:
    asked, limits = spec.requests, spec.limits
    for name, request, limit in (
        ("cpu_cores", asked.cpu_cores, limits.cpu_cores),
        ("memory_bytes", asked.memory_bytes, limits.memory_bytes),
    ):
        if limit is not None and limit < request:
            yield Fault(
                f"limits.{name}",
                f"{limit:g} is less than requests.{name}, {request:g}",
                f"{request:g} or more",
            )
        if limit == 0:
            yield Fault(f"limits.{name}", "nothing runs with 0", "more than 0, or none")
    if limits.pin_cpus and asked.cpu_cores == 0:
        yield Fault("limits.pin_cpus", "requests.cpu_cores is 0", "cores to be pinned to")
    if spec.restart.delay_s > spec.restart.delay_max_s:
        yield Fault(
            "restart.delay_s",
            f"{spec.restart.delay_s:g} is more than delay_max_s, {spec.restart.delay_max_s:g}",
            f"{spec.restart.delay_max_s:g} or less",
        )
    devices = asked.devices
    if len(set(devices)) < len(devices):
        yield Fault("requests.devices", "a device is named twice", "each once")


def _schedule(spec: TaskSpec, now_ms: int) -> Iterator[Fault]:
    if spec.cron is None:
        return
    wrong = cron_fault(spec.cron)
    if wrong is not None:
        yield Fault("cron", f"{spec.cron!a}: {wrong}", "minute hour day month weekday")
    elif next_ms(spec.cron, zone("UTC"), now_ms) is None:
        yield Fault("cron", f"{spec.cron!a} never comes", "a time that comes")


def _environment(spec: TaskSpec) -> Iterator[Fault]:
    if len(spec.env) > MAX_ENV:
        yield Fault("env", f"{len(spec.env)} variables", f"{MAX_ENV} or fewer")
    for name, value in spec.env.items():
        where = f"env.{name[:64]}"
        if _VARIABLE.fullmatch(name) is None:
            yield Fault(where, "no name of a variable", "letters, digits and _, no digit first")
        elif name.startswith(RESERVED):
            yield Fault(where, f"the agent sets what begins with {RESERVED}", "another name")
        if isinstance(value, FromConfig) and _ESCAPE.search(value.config):
            yield Fault(
                f"{where}.config",
                f"{value.config[:80]!a} is no JSON pointer",
                "RFC 6901: ~ is written ~0, / in a key ~1",
            )


def _health(check: HealthCheck) -> Iterator[Fault]:
    if check.http is not None:
        parts = _url(check.http)
        if parts is None or parts[0] not in ("http", "https"):
            yield Fault("health.http", f"{check.http[:80]!a}", "http://HOST:PORT/PATH")
    if check.tcp is not None:
        host, _, port = check.tcp.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            yield Fault("health.tcp", f"{check.tcp[:80]!a}", "HOST:PORT")


def _artifact(where: str, artifact: Artifact) -> Iterator[Fault]:
    parts = _url(artifact.url)
    if parts is None:
        yield Fault(f"{where}.url", f"{artifact.url[:80]!a} is no address", "https://HOST/PATH")
    elif parts[0] == "http" and not _loopback(parts[1]):
        yield Fault(f"{where}.url", "http is taken from the node's own loopback alone", "https://…")
    if ".." in artifact.path.split("/") or artifact.path.endswith("/"):
        yield Fault(
            f"{where}.path", f"{artifact.path[:80]!a}", "a path within the task's directory"
        )


def _url(text: str) -> tuple[str, str] | None:
    """Scheme and host."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    return (parts.scheme, parts.hostname) if parts.hostname and port != 0 else None


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fits(spec: TaskSpec, largest: Mapping[str, int]) -> Iterator[FieldError]:
    """What one instance asks for and no node has, even empty; ``largest`` in thousandths and bytes."""
    requests = spec.requests
    for field, name, amount, scale in (
        ("cpu_cores", "cpu_milli", requests.cpu_cores, 1000),
        ("memory_bytes", "memory_bytes", requests.memory_bytes, 1),
        ("disk_bytes", "disk_bytes", requests.disk_bytes, 1),
        ("gpu", "gpu_milli", requests.gpu.count + requests.gpu.milli / 1000, 1000),
    ):
        most = largest.get(name, 0) / scale
        if amount > most:
            asked, there = (
                f"{each:,.0f}" if field.endswith("_bytes") else f"{each:g}"
                for each in (amount, most)
            )
            yield FieldError(
                field=f"requests.{field}",
                detail=f"{asked} in one instance; no known node has more than {there}",
            )
