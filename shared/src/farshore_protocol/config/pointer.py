"""RFC 6901 JSON pointers, written and followed. Keys of objects only: to us an array is one value."""

from collections.abc import Iterable, Mapping
from typing import Any

from farshore_protocol.errors import LocalProtocolError

ABSENT: Any = type("Absent", (), {"__repr__": lambda _self: "ABSENT", "__slots__": ()})()
"""What a pointer finds where there is nothing; null is a value."""


def step(key: str) -> str:
    """One step down, as it stands in a pointer."""
    if "~" in key or "/" in key:
        key = key.replace("~", "~0").replace("/", "~1")
    return "/" + key


def pointer(keys: Iterable[str]) -> str:
    return "".join(map(step, keys))


def keys_of(text: str) -> list[str]:
    """The inverse of ``pointer``."""
    if not text:
        return []
    if text[0] != "/":
        raise LocalProtocolError(f"{text[:80]!r} is no JSON pointer: expected it to begin with '/'")
    return [key.replace("~1", "/").replace("~0", "~") for key in text[1:].split("/")]


def find(config: Any, text: str) -> Any:
    """The value that the pointer shows, or ABSENT."""
    for key in keys_of(text):
        if not isinstance(config, Mapping) or key not in config:
            return ABSENT
        config = config[key]
    return config
