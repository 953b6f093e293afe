"""A short soak with real processes; and the check finds whatever is wrong with what it has left."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from soak.check import Check, fits
from soak.kills import KillsSettings, KillsSoak
from soak.violation import Findings, Violation

pytestmark = pytest.mark.processes

SETTINGS = KillsSettings(
    agent_kills=9, center_kills=2, nodes=3, seed=11, sample_s=0.1, command_every_s=0.1
)


@dataclass(frozen=True)
class Done:
    soak: KillsSoak
    findings: Findings
    folder: Path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One soak for all tests here."""
    folder = tmp_path_factory.mktemp("soak")
    soak = KillsSoak(SETTINGS, folder, say=lambda _text: None)
    return Done(soak, asyncio.run(soak.run()), folder)


def test_no_promise_is_broken_by_kills(done: Done) -> None:
    assert [str(violation) for violation in done.findings.violations] == []


def test_it_did_what_it_says(done: Done) -> None:
    counts = done.findings.counts
    assert (counts["agent_kills"], counts["center_kills"]) == (9, 2)
    assert sum(counts["agent_kills_by_moment"].values()) == 9
    assert counts["records_accepted"] > 20
    assert counts["batches_witnessed"] > 10
    assert counts["samples_stored"] >= counts["batches_witnessed"]
    assert counts["commands"]["succeeded"] >= 1
    assert counts["effects"] >= 1


Damage = Callable[[sqlite3.Connection, sqlite3.Connection, Path], None]
"""Of the center's database, a node's database, and the folder."""

NODE = "node-01"


def sql_at_the_center(statement: str) -> Damage:
    return lambda center, _agent, _folder: _one(center, statement)


def sql_at_the_node(statement: str) -> Damage:
    return lambda _center, agent, _folder: _one(agent, statement)


def _one(database: sqlite3.Connection, statement: str) -> None:
    assert database.execute(statement).rowcount > 0, "the damage is there"
    database.commit()


def an_effect_twice(_center: sqlite3.Connection, _agent: sqlite3.Connection, folder: Path) -> None:
    file = next((folder / "effects").iterdir())
    file.write_text(file.read_text() + file.read_text().splitlines()[0] + "\n")


def no_effects(_center: sqlite3.Connection, _agent: sqlite3.Connection, folder: Path) -> None:
    for file in (folder / "effects").iterdir():
        file.write_text("")


CASES: list[tuple[str, str, Damage]] = [
    (
        "an accepted batch whose samples are not stored",
        "accepted is stored",
        sql_at_the_center(f"DELETE FROM telemetry_batch WHERE node = '{NODE}'"),
    ),
    (
        "a batch stored a second time",
        "no sample twice",
        sql_at_the_center(
            "INSERT INTO telemetry_batch (node, t0_ms, t1_ms, received_ms, approximate, payload) "
            "SELECT node, t0_ms, t1_ms, received_ms, approximate, payload FROM telemetry_batch "
            f"WHERE node = '{NODE}' LIMIT 1"
        ),
    ),
    (
        "a record that the center never had",
        "nothing is missing",
        sql_at_the_node("UPDATE stream SET head = head + 1 WHERE name = 'metrics'"),
    ),
    (
        "a record lost that nobody declared",
        "losses are declared",
        sql_at_the_center(
            "UPDATE stream_book SET accepted = '[]', lost = '[[1,' || head || ']]' "
            f"WHERE node = '{NODE}' AND stream = 'metrics'"
        ),
    ),
    (
        "a record that is accepted and lost",
        "accepted or lost",
        sql_at_the_center(
            f"UPDATE stream_book SET lost = '[[1,1]]' WHERE node = '{NODE}' AND stream = 'metrics'"
        ),
    ),
    (
        "a loss for no reason that the soak has",
        "losses have a reason",
        sql_at_the_center(
            "INSERT INTO stream_loss (node, stream, epoch, first, last, reason, at_ms) "
            f"VALUES ('{NODE}', 'metrics', 'e', 1, 1, 'quota', 0)"
        ),
    ),
    (
        "another epoch on the same disk",
        "one epoch of one disk",
        sql_at_the_node("UPDATE stream SET epoch = 'another' WHERE name = 'metrics'"),
    ),
    (
        "a record that an orderly stop left behind",
        "what is accepted is put away",
        sql_at_the_node("INSERT INTO record VALUES ('metrics', 1, 'tel/host', '{}')"),
    ),
    ("a command that took effect twice", "at most once", an_effect_twice),
    ("commands that succeeded without effect", "the center says what happened", no_effects),
    (
        "a command without an end",
        "a command ends",
        sql_at_the_center("UPDATE command_target SET state = 'running'"),
    ),
    (
        "commands that are gone",
        "a command that was taken is kept",
        sql_at_the_center("DELETE FROM command_target"),
    ),
]


@pytest.mark.parametrize(
    ("promise", "damage"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_check_finds(done: Done, tmp_path: Path, promise: str, damage: Damage) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(done.folder, folder)
    done.soak.load.folder, kept = folder / "effects", done.soak.load.folder
    try:
        with (
            closing(sqlite3.connect(folder / "center" / "center.db")) as center,
            closing(sqlite3.connect(folder / NODE / "agent.db")) as agent,
        ):
            damage(center, agent, folder)
        check = Check(folder, done.soak.names)
        check.run(done.soak.load, done.soak.witness)
    finally:
        done.soak.load.folder = kept
    assert promise in {violation.promise for violation in check.violations}


@pytest.mark.parametrize(
    ("state", "effects", "true"),
    [
        ("succeeded", 1, True),
        ("succeeded", 0, False),
        ("succeeded", 2, False),
        ("expired", 0, True),
        ("expired", 1, False),
        ("interrupted", 0, True),
        ("interrupted", 1, True),
        ("interrupted", 2, False),
    ],
)
def test_a_state_goes_with_its_effects(state: str, effects: int, true: bool) -> None:
    assert fits(state, effects) is true


def test_a_violation_says_which_promise_where_and_why() -> None:
    told = str(Violation(promise="at most once", where="line-1 at node-01", detail="2 effects"))
    assert told == "at most once · line-1 at node-01: 2 effects"
