"""A job played against nodes that answer as they are told, second by second."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from farshore_center.jobs.apply import apply
from farshore_center.jobs.engine import plan
from farshore_center.jobs.rules import Rules
from farshore_center.jobs.state import (
    Action,
    Facts,
    Job,
    JobNode,
    Place,
    Snapshot,
    StartNodes,
    UndoNodes,
)

Answer = Callable[[str, int], tuple[int, str | None]]
"""Of a node at an attempt: after how many seconds, and what; None: it stays silent."""


def healthy(_node: str, _attempt: int) -> tuple[int, str | None]:
    return 1, "succeeded"


def job_of(rules: Rules, nodes: Iterable[str], **more: object) -> Snapshot:
    job = Job(id="job-1", rules=rules, **more)  # type: ignore[arg-type]
    names = list(nodes)
    facts = Facts(
        places={node: Place(group=f"g{number % 3}") for number, node in enumerate(names)},
        group_sizes={"": len(names), "g0": (len(names) + 2) // 3},
    )
    return Snapshot(job=job, nodes=tuple(JobNode(node=node) for node in names), facts=facts)


@dataclass
class Play:
    snapshot: Snapshot
    answer: Answer = healthy
    now_ms: int = 0
    sent: list[tuple[int, str, int]] = field(default_factory=list)
    done: list[tuple[int, Action]] = field(default_factory=list)
    due: dict[str, tuple[int, str]] = field(default_factory=dict)
    check: Callable[["Play"], None] = lambda _play: None

    def settle(self) -> None:
        """Until the engine has nothing to do at this instant."""
        for _ in range(1000):
            actions = plan(self.snapshot, self.now_ms)
            assert list(actions) == list(plan(self.snapshot, self.now_ms))
            if not actions:
                return
            for action in actions:
                self.snapshot = apply(self.snapshot, action, self.now_ms)
                self.done.append((self.now_ms, action))
                if isinstance(action, StartNodes | UndoNodes):
                    self._send(action.nodes)
            self.check(self)
        raise AssertionError("the engine does not come to rest")

    def _send(self, nodes: Iterable[str]) -> None:
        attempts = {each.node: each.attempts for each in self.snapshot.nodes}
        for node in nodes:
            self.sent.append((self.now_ms, node, attempts[node]))
            after_s, said = self.answer(node, attempts[node])
            if said is not None:
                self.due[node] = (self.now_ms + after_s * 1000, said)

    def step(self) -> None:
        self.now_ms += 1000
        heard = {n: said for n, (at_ms, said) in self.due.items() if at_ms <= self.now_ms}
        for node in heard:
            del self.due[node]
        nodes = tuple(
            replace(each, heard=heard[each.node]) if each.node in heard else each
            for each in self.snapshot.nodes
        )
        self.snapshot = replace(self.snapshot, nodes=nodes)
        self.settle()

    def run(self, seconds: int) -> "Play":
        self.settle()
        for _ in range(seconds):
            self.step()
        return self

    @property
    def state(self) -> str:
        return self.snapshot.job.state

    def touched(self) -> set[str]:
        return {node for _, node, _ in self.sent}

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in self.snapshot.nodes:
            found[each.state] = found.get(each.state, 0) + 1
        return found
