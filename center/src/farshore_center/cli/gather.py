"""Targets that say the same, shown once: the fold of a thousand answers. Pure.

The manner is that of ``clush -b``: a heading with the folded names of the nodes, and below it what
each of them wrote.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from farshore_center.cli.cells import NOTHING, block, clean, counted
from farshore_center.cli.folding import fold
from farshore_center.cli.progress import SUCCEEDED, Target, cut, first_line, output_of, why

MANY_GROUPS = 20
"""With more groups than that, hardly two nodes say the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Nodes with one state, one explanation and one output. ``kinds`` above 1: they differ after all,
    and what is said is the first one's."""

    nodes: tuple[str, ...]
    state: str
    says: str = ""
    stdout: str = ""
    stderr: str = ""
    kinds: int = 1

    @property
    def succeeded(self) -> bool:
        return self.state == SUCCEEDED


def gathered(targets: Iterable[Target], at_most: int | None = None) -> list[Answer]:
    """Failures before successes, each with the largest group first.

    With ``at_most``, groups beyond it are put together by their state.
    """
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for target in targets:
        out, err = output_of(target, "stdout"), output_of(target, "stderr")
        groups.setdefault((target["state"], says(target), out, err), []).append(target["node"])
    found = [
        Answer(nodes=tuple(nodes), state=state, says=said, stdout=out, stderr=err)
        for (state, said, out, err), nodes in groups.items()
    ]
    found.sort(key=lambda a: (a.succeeded, -len(a.nodes), a.state, a.nodes))
    if at_most is None or len(found) <= at_most:
        return found
    # Where hardly two say the same, one of them stands for all; failures keep their own words.
    told = [answer for answer in found if len(answer.nodes) > 1 or not answer.succeeded][:at_most]
    kept = {id(answer) for answer in told}
    return [*told, *_rest([answer for answer in found if id(answer) not in kept])]


def _rest(answers: Sequence[Answer]) -> Iterator[Answer]:
    for state in dict.fromkeys(answer.state for answer in answers):
        same = [answer for answer in answers if answer.state == state]
        nodes = tuple(node for answer in same for node in answer.nodes)
        yield replace(same[0], nodes=nodes, kinds=len(same))


def says(target: Target) -> str:
    """Why it ended so, or its result; nothing where its output says it all."""
    if not output_of(target):
        text = first_line(target)
        return "" if text == NOTHING else text
    return "; ".join(part for part in (why(target), cut(target)) if part)


def heading(answer: Answer) -> str:
    """``997 nodes succeeded: sim-[001-997]``."""
    number = counted(len(answer.nodes), "node")
    return f"{number} {clean(answer.state)}: {clean(fold(answer.nodes))}"


def body(answer: Answer) -> str:
    """What they say, line by line; empty: nothing."""
    if answer.kinds > 1:
        first = answer.says or next(iter((answer.stdout or answer.stderr).splitlines()), "")
        example = f"; for example {clean(answer.nodes[0])}: {clean(first)}" if first else ""
        return f"({answer.kinds:,} different answers{example})"
    parts = [answer.says] if answer.says else []
    for name, text in (("stdout", answer.stdout), ("stderr", answer.stderr)):
        if not text or clean(text.strip()) == answer.says:
            continue
        if name == "stderr" and answer.stdout:
            parts.append("[stderr]")
        parts.append(block(text).removesuffix("\n"))
    return "\n".join(parts)
