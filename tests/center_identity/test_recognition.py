"""Who is ahead of whom: every case by name, and any history of starts, commits and restores."""

from dataclasses import replace

import pytest
from farshore_center.identity.recognition import Epoch, History, Relation, judge
from hypothesis import given
from hypothesis import strategies as st

HISTORY = History(
    database="db",
    number=3,
    restored_number=0,
    epochs={
        "one": Epoch(number=1, generation=10),
        "two": Epoch(number=2, generation=20),
        "three": Epoch(number=3, generation=25),
    },
)
AFTER = replace(
    HISTORY,
    restored_number=3,
    epochs={**HISTORY.epochs, "lost": Epoch(number=3, generation=0, known=False)},
)
LATER = replace(AFTER, number=4, epochs={**AFTER.epochs, "four": Epoch(number=4, generation=30)})


@pytest.mark.parametrize(
    ("history", "mark", "relation", "restored"),
    [
        pytest.param(HISTORY, None, Relation.NONE, False, id="a node without a mark"),
        pytest.param(HISTORY, ("other", "two", 1), Relation.STRANGER, False, id="another center"),
        pytest.param(HISTORY, ("db", "one", 10), Relation.KNOWN, False, id="an earlier start"),
        pytest.param(HISTORY, ("db", "three", 25), Relation.KNOWN, False, id="the newest word"),
        pytest.param(HISTORY, ("db", "two", 21), Relation.AHEAD, True, id="beyond a start's end"),
        pytest.param(HISTORY, ("db", "never", 5), Relation.AHEAD, True, id="a start never made"),
        pytest.param(AFTER, ("db", "two", 99), Relation.AHEAD, False, id="the same restore"),
        pytest.param(AFTER, ("db", "lost", 40), Relation.AHEAD, False, id="a start told before"),
        pytest.param(AFTER, ("db", "lost2", 41), Relation.AHEAD, False, id="another lost start"),
        pytest.param(AFTER, ("db", "three", 25), Relation.KNOWN, False, id="after the restore"),
        pytest.param(LATER, ("db", "two", 99), Relation.AHEAD, False, id="a late node"),
        pytest.param(
            LATER, ("db", "lost", 41), Relation.AHEAD, False, id="a late node, lost start"
        ),
        pytest.param(LATER, ("db", "three", 26), Relation.AHEAD, True, id="a second restore"),
        pytest.param(LATER, ("db", "lost2", 41), Relation.AHEAD, True, id="to be safe"),
    ],
)
def test_cases(
    history: History, mark: tuple[str, str, int] | None, relation: Relation, restored: bool
) -> None:
    verdict = judge(history, mark)
    assert (verdict.relation, verdict.restored) == (relation, restored)


class _Center:
    """Starts, commits and restores, and which marks were ever said by which branch of the past."""

    def __init__(self) -> None:
        self.starts = 0
        self.epochs: dict[str, Epoch] = {}
        self.said: list[tuple[str, str, int]] = []
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.name = f"e{self.starts}"
        number = max((e.number for e in self.epochs.values()), default=0) + 1
        generation = max((e.generation for e in self.epochs.values()), default=0)
        self.epochs = {**self.epochs, self.name: Epoch(number=number, generation=generation)}

    def commit(self) -> None:
        now = self.epochs[self.name]
        self.epochs = {**self.epochs, self.name: replace(now, generation=now.generation + 1)}
        self.said.append(("db", self.name, now.generation + 1))

    def history(self) -> History:
        number = self.epochs[self.name].number
        return History(database="db", number=number, restored_number=0, epochs=self.epochs)


@given(st.lists(st.sampled_from(["commit", "commit", "kill", "back up", "restore"]), max_size=40))
def test_a_mark_is_ahead_exactly_when_its_commit_is_not_in_the_database(steps: list[str]) -> None:
    """However far the restored center has gone since, and however late the node comes."""
    center = _Center()
    backup, known = dict(center.epochs), list(center.said)
    present: list[tuple[str, str, int]] = []
    for step in steps:
        if step == "commit":
            center.commit()
            present.append(center.said[-1])
        elif step == "kill":
            center.start()
        elif step == "back up":
            backup, known = dict(center.epochs), list(present)
        else:
            center.epochs, present = dict(backup), list(known)
            center.start()
        for mark in center.said:
            ahead = judge(center.history(), mark).relation is Relation.AHEAD
            assert ahead == (mark not in present)
