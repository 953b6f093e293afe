"""What was measured on: the machine, its load, the versions of what took part."""

import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path
from typing import Any

PACKAGES = (
    *("farshore-center", "farshore-edge", "farshore-protocol", "farshore-firmware-sim"),
    *("amqtt", "fastapi", "msgspec", "orjson", "paho-mqtt", "sqlalchemy", "uvicorn"),
)


def machine() -> dict[str, Any]:
    return {
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "kernel": platform.release(),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    return found | {name: importlib.metadata.version(name) for name in PACKAGES}


def load_average() -> list[float]:
    """Over 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]


def _first(path: str, key: str) -> str:
    """The value of the first line ``key : value``."""
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"
