"""Series names: how they are built, how they are taken apart, and how many devices get one.

A name is a base, or a base with one label: ``fs.used_bytes{mount=/var}``. Which bases exist is
the catalogue's business.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection

from farshore_edge.telemetry.collectors.model import Sample

LABEL_MAX_CHARS = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9._:/@+-]")


def label_value(raw: str) -> str:
    """`raw` in the alphabet of labels, at most LABEL_MAX_CHARS long.

    A value that had to be changed ends in a checksum of the original, so that two devices whose
    names differ only in what was changed remain two series.
    """
    clean = _UNSAFE.sub("_", raw)
    if clean == raw and 0 < len(clean) <= LABEL_MAX_CHARS:
        return clean
    checksum = zlib.crc32(raw.encode("utf-8", "surrogateescape"))
    return f"{clean[: LABEL_MAX_CHARS - 9]}-{checksum:08x}"


def series_name(base: str, label: str | None = None, value: str = "") -> str:
    """The name of one series; the inverse of `split_series`. `value` has to be clean already."""
    return base if label is None else f"{base}{{{label}={value}}}"


def split_series(series: str) -> tuple[str, str | None, str]:
    """Base, label and label value of a series name."""
    base, brace, rest = series.partition("{")
    if not brace:
        return base, None, ""
    label, _, value = rest.removesuffix("}").partition("=")
    return base, label, value


class DeviceLabels:
    """Gives the devices of one collector their labels, to a fixed number of devices.

    Who was admitted once stays admitted while it is there, so that a new device can't push out
    an old one's series. Devices beyond the limit, and those that could not be read, are counted.
    """

    __slots__ = ("_admitted", "_collector", "_left_out", "_limit", "_seen")

    def __init__(self, collector: str, limit: int) -> None:
        self._collector = collector
        self._limit = limit
        self._seen: frozenset[str] = frozenset()
        self._admitted: dict[str, str] = {}
        self._left_out: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """The devices that got no series because there were too many."""
        return self._left_out

    def admit(self, devices: Collection[str]) -> dict[str, str]:
        """Device to label value, for the devices that are within the limit."""
        seen = frozenset(devices)
        if seen != self._seen:
            staying = [device for device in self._admitted if device in seen]
            queue = staying + sorted(seen.difference(staying), key=_natural_order)
            self._admitted = {device: label_value(device) for device in queue[: self._limit]}
            self._left_out = tuple(queue[self._limit :])
            self._seen = seen
        return self._admitted

    def account(self, sample: Sample, unreadable: int = 0) -> None:
        """Say in the sample itself how many devices it lacks; silence means none."""
        if self._left_out:
            name = series_name("telemetry.devices_left_out", "collector", self._collector)
            sample[name] = float(len(self._left_out))
        if unreadable:
            name = series_name("telemetry.devices_unreadable", "collector", self._collector)
            sample[name] = float(unreadable)


def _natural_order(name: str) -> tuple[int, str]:
    """Short names first: `eth2` before `eth10`, and `/` before everything below it."""
    return len(name), name
