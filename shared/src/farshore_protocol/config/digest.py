"""The digest of a configuration: equal at center and node, whatever order its keys came in.

SHA-256 over JSON with sorted keys and no spaces, as orjson writes it; a whole float is written as
an integer is not (``1.0`` and ``1`` differ), so a value keeps the digest that its author wrote.
"""

import hashlib
from typing import Any

import orjson

from farshore_protocol.errors import LocalProtocolError


def canonical(config: Any) -> bytes:
    """Raises LocalProtocolError for what JSON can't hold."""
    try:
        return orjson.dumps(config, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as exc:
        raise LocalProtocolError(f"configuration can't be written as JSON: {exc}") from exc


def digest(config: Any) -> str:
    """``sha256:`` and 64 hexadecimal digits."""
    return digest_of_canonical(canonical(config))


def digest_of_canonical(text: bytes) -> str:
    """The same of what ``canonical`` has written already."""
    return "sha256:" + hashlib.sha256(text).hexdigest()
