"""The center's settings: validated once, units in the names."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from farshore_center.db.engine import parse_url
from farshore_center.errors import CenterError
from farshore_center.tasks.choices import TaskChoices, faults
from farshore_center.wishes import Wishes

MAX_RATE = 1e6
MAX_HOLD_S = 86_400.0

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SettingsError(CenterError):
    """A setting that can't be used: names the key, the value and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ListenError(CenterError):
    """An address that can't be listened on: names the key, the address and why."""

    def __init__(self, key: str, address: Address, cause: OSError) -> None:
        # asyncio wraps the system's sentence into one of its own.
        reason = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else str(cause)
        super().__init__(f"{key} = {address}: can't listen there: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``external_broker``: ``mqtt`` names a broker that runs elsewhere, not where to listen.

    ``restored``: a person says that the database is from a backup.
    """

    data: Path
    http: Address
    mqtt: Address
    external_broker: bool
    database: str
    dev: bool
    log_level: str = "INFO"
    restored: bool = False
    wishes: Wishes = field(default_factory=Wishes)
    tasks: TaskChoices = field(default_factory=TaskChoices)


def read_settings(
    *,
    data: Path,
    http: str,
    mqtt: str,
    database: str | None,
    dev: bool,
    log_level: str,
    restored: bool = False,
    rate: float | None = None,
    hold_s: float | None = None,
    tasks: TaskChoices | None = None,
) -> Settings:
    """Checks every value. Raises CenterError."""
    if database is not None:
        parse_url(database)
    external = mqtt.startswith("mqtt://")
    settings = Settings(
        data=data,
        http=read_address("--http", http),
        mqtt=read_address("--mqtt", mqtt.removeprefix("mqtt://")),
        external_broker=external,
        database=database or f"sqlite:///{data.absolute() / 'center.db'}",
        dev=dev,
        log_level=_level(log_level),
        restored=restored,
        wishes=_wishes(rate, hold_s),
        tasks=_choices(tasks or TaskChoices()),
    )
    _check_safety(settings)
    return settings


def read_address(key: str, text: str) -> Address:
    """HOST:PORT. Raises SettingsError, which names ``key``."""
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(
            f"{key} = {text.rpartition('@')[2]!r}: only HOST:PORT is taken, without login and options"
        )
    if not parts.hostname or port is None or parts.path:
        raise SettingsError(f"{key} = {text!r}: expected HOST:PORT, like 127.0.0.1:8080")
    return Address(host=parts.hostname, port=port)


def _level(text: str) -> str:
    level = text.upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise SettingsError(f"--log-level = {text!r}: expected DEBUG, INFO, WARNING or ERROR")
    return level


def _wishes(rate: float | None, hold_s: float | None) -> Wishes:
    if rate is not None and not 0 < rate <= MAX_RATE:
        raise SettingsError(f"--rate = {rate}: expected more than 0 and at most {MAX_RATE:g}")
    if hold_s is not None and not 0 <= hold_s <= MAX_HOLD_S:
        raise SettingsError(f"--hold-s = {hold_s}: expected 0 to {MAX_HOLD_S:g} seconds")
    return Wishes(rate=rate, hold_s=hold_s)


def _choices(tasks: TaskChoices) -> TaskChoices:
    for name, value, expected in faults(tasks):
        raise SettingsError(f"--{name.replace('_', '-')} = {value}: expected {expected}")
    return tasks


def _check_safety(settings: Settings) -> None:
    if not settings.dev:
        raise SettingsError(
            "without --dev the center serves only with login, TLS and enrolled nodes, and these "
            "are not part of this version; for a first fleet on this machine, use --dev "
            "(loopback only)"
        )
    for key, address in (("--http", settings.http), ("--mqtt", settings.mqtt)):
        if address.host not in LOOPBACK:
            raise SettingsError(
                f"{key} = {address}: --dev has no login and no TLS, so it takes loopback "
                f"addresses only, expected one of {', '.join(LOOPBACK)}"
            )
