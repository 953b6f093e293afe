"""Damage is seeded and of its kind; what the agent's database does with it is refused or told."""

import random
import shutil
from pathlib import Path

import pytest
from farshore_edge.database import SqliteDatabase
from farshore_edge.errors import DatabaseError
from farshore_protocol.ids import Ids
from farshore_sim.faults.agent_workload import FILE
from farshore_sim.faults.crash_model import PAGE_BYTES
from farshore_sim.faults.damage import Damage, damage, damaged
from farshore_sim.faults.errors import FaultError
from faults_disk.damaged_agent import CLOSED, IN_USE, Outcome, outcome, prepare
from hypothesis import given
from hypothesis import strategies as st

IN_CONTENT = [kind for kind in Damage if kind not in (Damage.FOLDER, Damage.NO_PERMISSION)]
SHORTER = {Damage.TRUNCATED, Damage.HALF, Damage.EMPTY}
CONTENT = random.Random("content").randbytes(10 * PAGE_BYTES)


@given(st.sampled_from(IN_CONTENT), st.integers(0, 2**32))
def test_damage_is_replayable_and_of_its_kind(kind: Damage, seed: int) -> None:
    left = damaged(CONTENT, kind, random.Random(seed))
    assert left == damaged(CONTENT, kind, random.Random(seed))
    assert left != CONTENT
    if kind in SHORTER:
        assert CONTENT.startswith(left)
        return
    assert len(left) == len(CONTENT)
    changed = [n for n, (a, b) in enumerate(zip(CONTENT, left, strict=True)) if a != b]
    if kind is Damage.BIT:
        (place,) = changed
        assert (CONTENT[place] ^ left[place]).bit_count() == 1
    if kind in (Damage.PAGE, Damage.WIPED_PAGE):
        assert changed[0] >= PAGE_BYTES
        assert changed[-1] - changed[0] < PAGE_BYTES
    if kind in (Damage.MAGIC, Damage.HEADER):
        assert changed[-1] < 100
    if kind is Damage.EVERY_PAGE:
        assert {place // PAGE_BYTES for place in changed} == set(range(10))


def test_a_truncated_file_ends_inside_of_a_page_and_a_half_one_at_the_edge() -> None:
    rng = random.Random(1)
    assert len(damaged(CONTENT, Damage.TRUNCATED, rng)) % PAGE_BYTES != 0
    assert len(damaged(CONTENT, Damage.HALF, rng)) == 5 * PAGE_BYTES


def test_files_can_be_put_out_of_reach(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    damage(file, Damage.NO_PERMISSION, random.Random(1))
    assert file.stat().st_mode & 0o777 == 0
    damage(file, Damage.FOLDER, random.Random(1))
    assert file.is_dir()


def test_what_is_not_there_or_too_short_can_not_be_damaged(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="can't be damaged"):
        damage(tmp_path / "none", Damage.BIT, random.Random(1))
    with pytest.raises(FaultError, match="too few"):
        damaged(b"short", Damage.PAGE, random.Random(1))


LOUD = {Outcome.REFUSED, Outcome.READ_FAILS, Outcome.OTHER_EPOCH}


async def test_a_destroyed_database_never_passes_for_the_old_one(tmp_path: Path) -> None:
    """Refused, or begun anew under another epoch: under the old one it would give seqs out twice."""
    truth = await prepare(tmp_path)
    for kind in (Damage.MAGIC, Damage.EVERY_PAGE, Damage.HALF, Damage.EMPTY, Damage.NOT_A_DATABASE):
        for seed in range(4):
            case = tmp_path / f"{kind.value} {seed}"
            shutil.copytree(tmp_path / CLOSED, case)
            assert await outcome(case, FILE, kind, seed, truth) in LOUD, (kind, seed)


async def test_a_database_that_is_not_damaged_is_right_in_both_states(tmp_path: Path) -> None:
    """The control: else the outcomes of damage would mean nothing."""
    truth = await prepare(tmp_path)
    for state in (CLOSED, IN_USE):
        assert await outcome(tmp_path / state, FILE, None, 0, truth) is Outcome.RIGHT


async def test_a_schema_that_can_not_be_read_is_a_database_error(tmp_path: Path) -> None:
    """One bit in the schema, at a word that SQLite repeats in its message."""
    await prepare(tmp_path)
    path = tmp_path / CLOSED / FILE
    content = path.read_bytes()
    assert content.count(b"CREATE INDEX") == 1
    path.write_bytes(content.replace(b"CREATE INDEX", b"CREATE INDE\xd8"))
    with pytest.raises(DatabaseError):
        SqliteDatabase(path, Ids(random.Random(1)))
