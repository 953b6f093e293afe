"""JSON text of values that may come from a node.

Storing what a node sent must never fail, because the same record would come again for ever; and it
is stored inside other values, deeper than it came. It does not validate.
"""

from typing import Any

import msgspec
import orjson

_LEFT_OUT = '{"left_out":"what the node sent can\'t be written as JSON"}'


def json_text(value: Any) -> str:
    """``value`` as compact JSON; something that says so in place of what can't be written."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        # Integers beyond 64 bits and deep nesting: orjson refuses them, msgspec does not.
        pass
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        return _LEFT_OUT
