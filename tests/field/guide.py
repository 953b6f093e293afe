"""docs/field-guide.md as steps: what is run, and what is to be seen then.

A ``sh`` block is run; a ``console`` block behind it is what it prints itself, a ``text`` block what the
listener shows. Of a shown line only what stands there counts: more fields may come, and ``…`` stands for
anything.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "field-guide.md"

_BLOCK = re.compile(r"^( *)```(\w+)( listener)?\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    script: str
    listens: bool = False
    printed: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()


def steps(page: str) -> list[Step]:
    found: list[Step] = []
    for indent, kind, listener, body in _BLOCK.findall(page):
        text = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        lines = tuple(line for line in text.splitlines() if line)
        if kind == "sh":
            found.append(Step(text, listens=bool(listener)))
            continue
        last = found.pop()
        assert kind in ("console", "text"), f"a block of {kind}"
        printed = (*last.printed, *lines) if kind == "console" else last.printed
        heard = (*last.heard, *lines) if kind == "text" else last.heard
        found.append(Step(last.script, last.listens, printed, heard))
    return found


def missing(shown: Sequence[str], came: Sequence[str]) -> list[str]:
    """Which of the shown lines nothing that came looks like; each line that came counts once."""
    left = list(came)
    lacking = []
    for line in shown:
        like = next((each for each in left if looks_like(line, each)), None)
        if like is None:
            lacking.append(line)
        else:
            left.remove(like)
    return lacking


def looks_like(shown: str, came: str) -> bool:
    topic, _, payload = shown.rpartition(" ") if shown[0] != "{" else ("", "", shown)
    if shown[0] != "{":
        topic, payload = shown.split(" ", 1)
    real_topic, _, real_payload = came.partition(" ") if topic else ("", "", came)
    try:
        real = json.loads(real_payload)
    except ValueError:
        return False
    return _text_fits(topic, real_topic) and fits(json.loads(payload), real)


def fits(shown: Any, real: Any) -> bool:
    if shown == "…":
        return True
    if isinstance(shown, dict):
        return isinstance(real, dict) and all(
            key in real and fits(value, real[key]) for key, value in shown.items()
        )
    if isinstance(shown, list):
        return (
            isinstance(real, list)
            and len(real) >= len(shown)
            and all(fits(a, b) for a, b in zip(shown, real, strict=False))
        )
    if isinstance(shown, str) and isinstance(real, str):
        return _text_fits(shown, real)
    return type(shown) is type(real) and bool(shown == real)


def _text_fits(shown: str, real: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), real, re.DOTALL) is not None
