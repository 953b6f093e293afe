"""SIGKILL at every step of a transaction, in real processes over real files."""

from pathlib import Path

import pytest

from soak.__main__ import main
from soak.config import ConfigSettings, ConfigSoak


@pytest.mark.processes
async def test_killed_at_any_step_it_runs_the_old_or_the_new_one_whole_and_says_which(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    soak = ConfigSoak(ConfigSettings(kills=40, seed=7), tmp_path, said.append)
    found = await soak.run()
    assert [str(each) for each in found.violations] == []
    assert found.counts["kills"] == 40
    assert found.counts["calls_of_a_transaction"] > 40
    assert found.counts["after_recovery"]["old"] > 5


async def test_the_soak_finds_what_is_torn(tmp_path: Path) -> None:
    soak = ConfigSoak(ConfigSettings(), tmp_path, lambda _: None)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.conf").write_text("a 1\n")
    soak._whole(1, "recovered", 1)
    soak._whole(0, "recovered", 3)
    told = [str(each) for each in soak.violations]
    assert len(told) == 3
    assert "wrong are ['a.conf', 'cam.json', 'sub1/b.conf', 't.conf']" in told[0]
    assert "heartbeat_s 3" in told[2]


@pytest.mark.processes
def test_the_soak_as_a_program_ends_with_a_report(tmp_path: Path) -> None:
    words = ["config", "--kills", "2", "--data", str(tmp_path / "data")]
    assert main([*words, "--report", str(tmp_path)]) == 0
    assert '"kills": 2' in (tmp_path / "config.json").read_text()
    assert "config" in (tmp_path / "config.md").read_text()
