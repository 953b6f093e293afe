"""The report tells what was done and found; the command line refuses what it can't run."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from soak.__main__ import KILLS, main, options, settings_of
from soak.broker import KINDS
from soak.brokers import BrokersSettings
from soak.config import ConfigSettings
from soak.kills import KillsSettings
from soak.report import page, report, write
from soak.violation import Violation

BEGAN = datetime(2026, 3, 1, 10, tzinfo=UTC)
BROKEN = Violation(promise="at most once", where="line-1 at node-01", detail="2 effects")


def test_the_page_tells_settings_counts_and_every_violation(tmp_path: Path) -> None:
    found = report(
        "kills",
        began=BEGAN,
        settings={"seed": 7, "may_lose": ()},
        counts={"agent_kills": 1000, "commands": {"succeeded": 3}},
        violations=[BROKEN],
        commit="abc123",
    )
    text = page(found)
    for part in (
        "2026-03-01T10:00:00+00:00, commit `abc123`",
        "**1 violations.**\n- at most once · line-1 at node-01: 2 effects\n",
        "| `seed` | 7 |",
        "| `may_lose` | none |",
        "| agent kills | 1,000 |",
        "| commands | succeeded 3 |",
    ):
        assert part in text
    write(found, tmp_path / "reports")
    assert (tmp_path / "reports" / "kills.md").read_text() == text


def test_what_is_told_by_kind_has_a_column_for_each() -> None:
    counts = {"embedded": {"kills": 10}, "nats": {"kills": 9, "more": 1}}
    found = report(
        "brokers", began=BEGAN, settings={}, counts=counts, violations=[], commit="abc123"
    )
    assert "| what was done and checked | embedded | nats |\n| --- | --- | --- |" in page(found)
    assert "| kills | 10 | 9 |" in page(found)
    assert "| more |  | 1 |" in page(found)


def test_options_become_settings() -> None:
    assert settings_of(options(["kills"])) == KillsSettings()
    assert settings_of(options(["config", "--kills", "5", "--seed", "2"])) == ConfigSettings(
        kills=5, seed=2
    )
    some = ["brokers", "--kind", "nats", "--kills", "3", "--may-lose", "quota"]
    assert settings_of(options(some)) == BrokersSettings(
        kinds=("nats",), kills=3, may_lose=("quota",)
    )
    assert tuple(BrokersSettings().kinds) == tuple(KINDS)
    assert (KILLS.agent_kills, KILLS.center_kills) == (1000, 200)


@pytest.mark.parametrize(
    "argv", [[], ["nothing"], ["kills", "--agent-kills", "-1"], ["brokers", "--kind", "none"]]
)
def test_wrong_usage_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err
