"""Many node names in few characters: ``sim-[001-200,204]``, and back. Pure.

The notation is that of ClusterShell's node sets, for the last number in a name. ``unfold`` gives back
exactly the names that ``fold`` was given, so what is shown can be typed.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

MAX_UNFOLDED = 10_000
"""As many as the center takes by name in one request."""

_LAST_NUMBER = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)
_FOLDED = re.compile(r"([^\[\]]*)\[([0-9,-]+)\]([^\[\]]*)")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")

_Key = tuple[str, str, int]
"""What stands before and after the number, and its width where zeros fill it, else 0."""


def fold(names: Iterable[str]) -> str:
    """The names, each once, in their natural order; runs of numbers as ranges."""
    return ",".join(folded(names))


def folded(names: Iterable[str]) -> list[str]:
    """The same as a list: plain names and names with brackets."""
    plain: list[str] = []
    numbers: dict[_Key, list[int]] = {}
    split = {name: _LAST_NUMBER.fullmatch(name) for name in names}
    filled = {
        (m[1], m[3], len(m[2])) for m in split.values() if m and len(m[2]) > 1 and m[2][0] == "0"
    }
    for name, match in split.items():
        if match is None or len(match[2]) > 18 or "[" in name or "]" in name:
            plain.append(name)
            continue
        before, digits, after = match.groups()
        padded = (before, after, len(digits)) in filled
        numbers.setdefault((before, after, len(digits) if padded else 0), []).append(int(digits))
    return [*sorted(plain), *(_one(key, numbers[key]) for key in sorted(numbers))]


def _one(key: _Key, numbers: list[int]) -> str:
    before, after, width = key
    runs = [
        f"{a:0{width}d}" if a == b else f"{a:0{width}d}-{b:0{width}d}"
        for a, b in _runs(sorted(numbers))
    ]
    alone = len(runs) == 1 and len(numbers) == 1
    return f"{before}{runs[0]}{after}" if alone else f"{before}[{','.join(runs)}]{after}"


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def unfold(word: str) -> list[str]:
    """The names that a word with brackets means; a word without them is a name itself.

    ValueError says what is wrong with it.
    """
    match = _FOLDED.fullmatch(word)
    if match is None:
        if "[" in word or "]" in word:
            raise ValueError(f"{word!a}: expected for example pi-[1-3,7]")
        return [word]
    before, inner, after = match.groups()
    found: list[str] = []
    for part in inner.split(","):
        for number in _numbers(word, part, MAX_UNFOLDED - len(found)):
            found.append(f"{before}{number}{after}")
    return list(dict.fromkeys(found))


def _numbers(word: str, part: str, room: int) -> list[str]:
    match = _RANGE.fullmatch(part)
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise ValueError(f"{word!a}: {part!a} is no range, expected for example 1-3")
    first, last = int(match[1]), int(match[2] or match[1])
    if last - first + 1 > room:
        raise ValueError(f"{word!a} means more than {MAX_UNFOLDED:,} nodes: use a selector")
    return [f"{number:0{len(match[1])}d}" for number in range(first, last + 1)]


def shortened(names: Iterable[str], width: int) -> str:
    """As ``fold``, cut to a width with how many are left out; for a line that must stay one."""
    listed = list(dict.fromkeys(names))
    text = fold(listed)
    if len(text) <= width:
        return text
    for kept in range(len(listed) - 1, 0, -1):
        text = f"{fold(listed[:kept])} +{len(listed) - kept}"
        if len(text) <= width:
            return text
    return f"{len(listed)} nodes"
