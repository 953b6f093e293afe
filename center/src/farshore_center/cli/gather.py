"""Targets that say the same, shown once: the fold of a thousand answers. Pure.

The manner is that of ``clush -b``: a heading with the folded names of the nodes, and below it what
each of them wrote.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from farshore_center.cli.cells import NOTHING, block, clean, counted
from farshore_center.cli.folding import fold
from farshore_center.cli.progress import SUCCEEDED, Target, first_line, output_of, why

MANY_GROUPS = 20
"""More groups than that are told by their number alone: then hardly two nodes say the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Nodes with one state, one explanation and one output. ``kinds`` above 1: they differ after all,
    and only how many nodes there are is told."""

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
    return [*found[:at_most], *_rest(found[at_most:])]


def _rest(answers: Sequence[Answer]) -> Iterator[Answer]:
    for state in dict.fromkeys(answer.state for answer in answers):
        same = [answer for answer in answers if answer.state == state]
        if len(same) == 1:
            yield same[0]
            continue
        nodes = tuple(node for answer in same for node in answer.nodes)
        yield Answer(nodes=nodes, state=state, kinds=len(same))


def says(target: Target) -> str:
    """Why it ended so, or its result; nothing where its output says it all."""
    text = why(target) if output_of(target) else first_line(target)
    return "" if text == NOTHING else text


def heading(answer: Answer) -> str:
    """``997 nodes succeeded: sim-[001-997]``."""
    number = counted(len(answer.nodes), "node")
    return f"{number} {clean(answer.state)}: {clean(fold(answer.nodes))}"


def body(answer: Answer) -> str:
    """What they say, line by line; empty: nothing."""
    if answer.kinds > 1:
        return f"({answer.kinds:,} different answers)"
    parts = [answer.says] if answer.says else []
    for name, text in (("stdout", answer.stdout), ("stderr", answer.stderr)):
        if not text or clean(text.strip()) == answer.says:
            continue
        if name == "stderr" and answer.stdout:
            parts.append("[stderr]")
        parts.append(block(text).removesuffix("\n"))
    return "\n".join(parts)
