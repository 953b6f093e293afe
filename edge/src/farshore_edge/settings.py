"""The agent's settings: one frozen dataclass, from flags over environment over file over defaults.

Every value remembers where it came from (``Loaded.origin``); units stand in the names. The table in
``docs/settings.md`` is compared with ``DOCS`` by a test.
"""

import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.names import check_name, check_tree_group
from farshore_protocol.stream import STREAMS

from farshore_edge.devices import check_devices
from farshore_edge.errors import SettingsError
from farshore_edge.outbox.quota import Quota
from farshore_edge.targets import check_target

ENV_PREFIX = "FARSHORE_"
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    node: str
    center: str = "mqtt://127.0.0.1:1883"
    data: str = "farshore-data/agent"
    group: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    dev: bool = False
    config_roots: Sequence[str] = ()
    config_programs: bool = False
    read_roots: Sequence[str] = ()
    write_roots: Sequence[str] = ()
    probe_targets: Sequence[str] = ()
    reboot_command: str = ""
    policy: str = ""
    sample_interval_s: float = 5.0
    batch_s: float = 10.0
    heartbeat_s: float = 30.0
    keepalive_s: int = 60
    backoff_first_s: float = 2.0
    backoff_max_s: float = 120.0
    spill_after_s: float = 30.0
    backlog_share: float = 0.3
    outbox_max_bytes: int = 256 * 1024 * 1024
    metrics_max_records: int = 1_000_000
    metrics_max_age_s: float = 90 * DAY_S
    results_max_bytes: int = 64 * 1024 * 1024
    results_max_records: int = 100_000
    results_max_age_s: float = 365 * DAY_S
    events_max_bytes: int = 128 * 1024 * 1024
    events_max_records: int = 500_000
    events_max_age_s: float = 365 * DAY_S
    reports_max_bytes: int = 4 * 1024 * 1024
    reports_max_records: int = 1_000
    reports_max_age_s: float = 90 * DAY_S
    commands_at_once: int = 8
    output_max_bytes: int = 256 * 1024
    exec_cpu_s: int = 3600
    exec_memory_bytes: int = 0
    exec_processes: int = 512
    exec_open_files: int = 1024
    exec_file_bytes: int = 0
    exec_nice: int = 0
    log_lines_per_s: int = 200
    log_bytes_per_s: int = 32 * 1024
    link_every_s: float = DAY_S
    link_bytes: int = 1024 * 1024
    dask_scheduler: str = ""
    devices: Mapping[str, str] = field(default_factory=dict)
    stop_grace_s: float = 5.0
    log_level: str = "INFO"

    @property
    def host_port(self) -> tuple[str, int]:
        parts = urlsplit(self.center)
        return parts.hostname or "127.0.0.1", parts.port or 1883

    @property
    def reboot_argv(self) -> list[str]:
        """Empty: the machine's own command."""
        return shlex.split(self.reboot_command)

    @property
    def quotas(self) -> dict[str, Quota]:
        """Stream → what it may hold; metrics beside the quota in bytes for all of them."""
        sizes = dict.fromkeys(STREAMS, self.outbox_max_bytes)
        for stream in ("results", "events", "reports"):
            sizes[stream] = getattr(self, f"{stream}_max_bytes")
        return {
            stream: Quota(
                max_bytes=size,
                max_records=getattr(self, f"{stream}_max_records"),
                max_age_s=getattr(self, f"{stream}_max_age_s"),
            )
            for stream, size in sizes.items()
        }


DOCS: Mapping[str, str] = {
    "node": "the node's name, unique in the fleet",
    "center": "where the center's broker is, mqtt://HOST:PORT",
    "data": "the folder of the agent's database",
    "group": "the group to be in until a person at the center decides otherwise, like eu/hamburg",
    "labels": "labels, as K=V (several: comma-separated in the environment, a table in the file)",
    "dev": "accept unsigned commands of every verb; without it only verbs that change nothing",
    "config_roots": "folders below which configurations may write files; none: they may write none",
    "config_programs": "configurations may run, signal and install programs: commands, units, packages",
    "read_roots": "folders below which commands may read files and logs; none: they may read none",
    "write_roots": "folders below which commands may read and write files; none: they may write none",
    "probe_targets": "hosts (names, *.example.org) and networks (10.0.0.0/8, *) that net-probe may reach; "
    "none: only the center's host",
    "reboot_command": "what reboots the machine; none: systemctl reboot, or reboot without systemd",
    "policy": "a TOML file with the rules of what commands this node takes; none: every command",
    "sample_interval_s": "seconds between two samples of the machine",
    "batch_s": "seconds of samples that travel together",
    "heartbeat_s": "seconds between two heartbeats",
    "keepalive_s": "MQTT keep-alive; 1.5 times this long without a word and the link counts as dead",
    "backoff_first_s": "the ceiling of the first wait before connecting again; it doubles",
    "backoff_max_s": "the ceiling of all waits before connecting again",
    "spill_after_s": "seconds that samples may wait in memory for the center; 0 writes them to disk at once",
    "backlog_share": "the part of what is under way that a backlog may take beside live records",
    "outbox_max_bytes": "what the outbox may hold in all before the oldest samples are thinned",
    "metrics_max_records": "batches of samples that may wait before the oldest are thinned",
    "metrics_max_age_s": "seconds after which waiting samples are thinned, by a clock that was checked",
    "results_max_bytes": "what waiting reports of commands may hold before the oldest are given up",
    "results_max_records": "reports of commands that may wait before the oldest are given up",
    "results_max_age_s": "seconds after which waiting reports of commands are given up",
    "events_max_bytes": "what waiting events may hold, what remains of thinned samples included",
    "events_max_records": "events that may wait before the oldest are given up",
    "events_max_age_s": "seconds after which waiting events are given up",
    "reports_max_bytes": "what waiting reports of the state may hold before the oldest are given up",
    "reports_max_records": "reports of the state that may wait before the oldest are given up",
    "reports_max_age_s": "seconds after which waiting reports of the state are given up",
    "commands_at_once": "commands that run at the same time; more of them wait",
    "output_max_bytes": "what is kept of one command's output",
    "exec_cpu_s": "seconds of processor time that a program of `exec` may use, 0: any",
    "exec_memory_bytes": "memory that a program of `exec` may use, all its processes together, 0: any",
    "exec_processes": "processes that a program of `exec` may be at once, 0: any",
    "exec_open_files": "files that each process of `exec` may have open, 0: as the agent itself",
    "exec_file_bytes": "size of the largest file that `exec` may write, 0: any",
    "exec_nice": "how much a program of `exec` stands back behind others, 0 to 19",
    "log_lines_per_s": "lines a second that one live log may send; more are dropped and counted",
    "log_bytes_per_s": "bytes a second that one live log may send; more are dropped and counted",
    "link_every_s": "seconds between two measurements of the link to the center's rates; 0: only when asked",
    "link_bytes": "bytes that one of them may move in each direction",
    "dask_scheduler": "address of the Dask cluster that tasks with the driver `dask` go to, tcp://HOST:PORT",
    "devices": "devices that tasks may ask for, as NAME=PATH (several: comma-separated in the environment, a "
    "table in the file)",
    "stop_grace_s": "at an orderly stop: how long to wait for what is unsent to be acknowledged",
    "log_level": "DEBUG, INFO, WARNING or ERROR",
}

_RANGES: Mapping[str, tuple[float, float]] = {
    "sample_interval_s": (0.1, 3600),
    "batch_s": (0.1, 3600),
    "heartbeat_s": (1, 3600),
    "keepalive_s": (2, 3600),
    "backoff_first_s": (0.05, 3600),
    "backoff_max_s": (0.05, 86_400),
    "spill_after_s": (0, 3600),
    "backlog_share": (0.05, 0.95),
    "outbox_max_bytes": (1024 * 1024, 2**50),
    **{f"{stream}_max_bytes": (64 * 1024, 2**50) for stream in ("results", "events", "reports")},
    **{f"{stream}_max_records": (10, 10**9) for stream in STREAMS},
    **{f"{stream}_max_age_s": (60, 100 * 365 * DAY_S) for stream in STREAMS},
    "commands_at_once": (1, 256),
    "output_max_bytes": (0, 64 * 1024 * 1024),
    "exec_cpu_s": (0, 7 * DAY_S),
    "exec_memory_bytes": (0, 2**50),
    "exec_processes": (0, 100_000),
    "exec_open_files": (0, 1_000_000),
    "exec_file_bytes": (0, 2**50),
    "exec_nice": (0, 19),
    "log_lines_per_s": (1, 10_000),
    "log_bytes_per_s": (1024, 1024 * 1024),
    "link_every_s": (0, 365 * DAY_S),
    "link_bytes": (4096, 16 * 1024 * 1024),
    "stop_grace_s": (0, 600),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings with the origin of each: ``default``, ``file PATH``, ``environment NAME``, ``flag``."""

    settings: Settings
    origin: Mapping[str, str]


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None
) -> Loaded:
    """Merges the sources and checks every value once.

    Raises SettingsError, which names the key, the value and what was expected.
    """
    known = {f.name for f in fields(Settings)}
    values: dict[str, Any] = {}
    origin = dict.fromkeys(known, "default")
    for key, value in _read_file(file).items():
        if key not in known:
            raise SettingsError(
                f"{key} = {value!r} (from file {file}): no such setting; "
                f"known: {', '.join(sorted(known))}"
            )
        values[key], origin[key] = value, f"file {file}"
    for key in known:
        name = ENV_PREFIX + key.upper()
        if name in environment:
            values[key], origin[key] = environment[name], f"environment {name}"
    for key, value in flags.items():
        if value is not None:
            values[key], origin[key] = value, "flag"
    if "node" not in values:
        raise SettingsError("node: no name given; use --node NAME or FARSHORE_NODE")
    checked = {key: _check(key, value, origin[key]) for key, value in values.items()}
    return Loaded(settings=Settings(**checked), origin=origin)


def _read_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as exc:
        raise SettingsError(f"settings file {file}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"settings file {file}: not TOML: {exc}") from exc


def _check(key: str, value: Any, origin: str) -> Any:
    try:
        return _convert(key, value)
    except (ValueError, TypeError, RemoteProtocolError) as exc:
        raise SettingsError(f"{key} = {value!r} (from {origin}): {exc}") from exc


def _convert(key: str, value: Any) -> Any:
    match key:
        case "node":
            return check_name(str(value), "node")
        case "group":
            return check_tree_group(str(value))
        case "labels":
            return _labels(value)
        case "devices":
            return check_devices(_pairs(value, "device", "NAME=PATH"))
        case "dev" | "config_programs":
            return _flag(value)
        case "config_roots" | "read_roots" | "write_roots":
            return _folders(value)
        case "probe_targets":
            return _targets(value)
        case "reboot_command":
            return _program(value)
        case "center":
            return _center(str(value))
        case "log_level":
            level = str(value).upper()
            if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
                raise ValueError("expected DEBUG, INFO, WARNING or ERROR")
            return level
        case "dask_scheduler":
            if value != "" and not re.fullmatch(r"(tcp|tls)://\S+:[0-9]{1,5}", str(value)):
                raise ValueError("expected tcp://HOST:PORT or tls://HOST:PORT")
            return str(value)
        case "policy":
            if not isinstance(value, str) or "\0" in value:
                raise ValueError("expected the path of a file")
            return value
        case "data":
            if not isinstance(value, str) or not value.strip() or "\0" in value:
                raise ValueError("expected the path of a folder")
            return value
    return _number(key, value)


def _number(key: str, value: Any) -> float | int:
    low, high = _RANGES[key]
    whole = isinstance(Settings.__dataclass_fields__[key].default, int)
    expected = f"expected a {'whole ' if whole else ''}number from {low:g} to {high:g}"
    try:
        number = int(value) if whole else float(value)
    except (ValueError, TypeError, OverflowError) as exc:
        raise ValueError(expected) from exc
    if isinstance(value, float) and number != value:
        raise ValueError(expected)
    if isinstance(value, bool) or not low <= number <= high:
        raise ValueError(expected)
    return number


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("expected true or false")


def _folders(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, Sequence):
        raise ValueError("expected absolute paths of folders")
    for each in value:
        if not isinstance(each, str) or not each.startswith("/") or "\0" in each:
            raise ValueError(f"{each!r}: expected the absolute path of a folder")
    return tuple(value)


def _targets(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise ValueError("expected names and networks, like *.example.org, 10.0.0.0/8 or *")
    return tuple(check_target(each.strip()) for each in value if each.strip())


def _program(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("expected a program with its arguments")
    shlex.split(value)  # raises ValueError for a quotation that does not end
    return value.strip()


def _center(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"expected mqtt://HOST:PORT; {exc}") from exc
    beyond = parts.path not in ("", "/") or parts.query or parts.fragment or parts.username
    if parts.scheme != "mqtt" or not parts.hostname or beyond:
        raise ValueError("expected mqtt://HOST:PORT")
    if port == 0:
        raise ValueError("expected a port from 1 to 65535")
    return value


def _labels(value: Any) -> dict[str, str]:
    found = _pairs(value, "label", "K=V")
    for name, text in found.items():
        check_name(name, "label")
        if len(text) > 256:
            raise ValueError(f"label {name}: {len(text)} characters, expected 256 or fewer")
    return found


def _pairs(value: Any, what: str, form: str) -> dict[str, str]:
    """Of a table, or of texts of this form."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Sequence):
        pairs = [_pair(str(item), what, form) for item in value]
    else:
        raise ValueError(f"expected {form}, or a table")
    for name, text in pairs:
        if not isinstance(text, str):
            raise ValueError(f"{what} {name}: {text!r}, expected a text")
    return dict(pairs)


def _pair(item: str, what: str, form: str) -> tuple[str, str]:
    name, separator, text = item.partition("=")
    if not separator:
        raise ValueError(f"{what} {item!r}: expected {form}")
    return name.strip(), text.strip()
