"""What is not as it should be: seen, told, repaired or only reported; and no endless fights."""

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import eventually
from edge_config.config_bench import Bench, Systemctl, host_parts
from farshore_edge.config import drift
from farshore_edge.config.patience import CALM_S, LONGEST_WAIT_S, OFTEN, Patience
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Files are looked at every few milliseconds; the service's clock stands still."""
    monkeypatch.setattr(drift, "WATCH_S", 0.005)
    made = Bench(host_parts(tmp_path))
    yield made
    await made.stop()


def rewrite(path: Path, text: str) -> None:
    """At one stroke: a file that is seen half written would be one difference more."""
    other = path.with_name("other")
    other.write_text(text)
    other.replace(path)


def config(root: Path, **rules: Any) -> dict[str, Any]:
    return {
        "files": {str(root / "a"): {"content": "a"}, str(root / "b"): {"content": "b"}},
        "drift": rules,
    }


async def test_a_changed_file_is_told_and_repaired(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "root"
    bench.take(1, config(root))
    await bench.reported(1, "applied")
    (root / "a").write_text("by hand")
    os.chmod(root / "b", 0o600)
    await eventually(lambda: bench.events("drift"))
    await eventually(lambda: bench.reports()[-1]["state"] == "applied" and len(bench.reports()) > 2)
    assert (root / "a").read_text() == "a"
    assert stat.S_IMODE((root / "b").stat().st_mode) == 0o644
    told = [d for e in bench.events("drift") if e["action"] == "repaired" for d in e["differences"]]
    assert {d["path"].rpartition("~1")[2] for d in told} >= {"a"}
    drifted = [r for r in bench.reports() if r["state"] == "drifted"]
    assert "by hand" not in str(drifted)
    assert drifted[0]["differences"][0]["expected"].startswith("sha256:")
    assert bench.reports()[-1]["differences"] == []


async def test_changed_facts_are_rendered_anew_at_the_next_look(
    bench: Bench, tmp_path: Path
) -> None:
    file = tmp_path / "root" / "cores"
    wanted = {"files": {str(file): {"template": "{{ facts.cpu.cores }} in {{ group }}"}}}
    bench.take(1, wanted, group="eu")
    await bench.reported(1, "applied")
    assert file.read_text() == "4 in eu"
    bench.facts = {"cpu": {"cores": 8}}
    bench.clock.advance(301)
    bench.take(1, wanted, group="eu")
    await eventually(lambda: file.read_text() == "8 in eu")
    await eventually(lambda: bench.events("drift"))


async def test_it_only_reports_where_it_is_told_to(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "root"
    bench.take(1, config(root, on_difference="report"))
    await bench.reported(1, "applied")
    (root / "a").unlink()
    report = await bench.reported(1, "drifted")
    assert [d["found"] for d in report["differences"]] == ["no file"]
    assert report["running_rev"] == 1
    await eventually(lambda: bench.events("drift"))
    assert not (root / "a").exists()
    (root / "a").write_text("a")
    await eventually(lambda: bench.reports()[-1]["state"] == "applied")
    assert [event["action"] for event in bench.events("drift")] == ["reported", "ended"]


async def test_a_file_that_is_rewritten_again_and_again_is_not_fought_for_ever(
    bench: Bench, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    bench.take(1, config(root))
    await bench.reported(1, "applied")
    for turn in range(OFTEN):
        rewrite(root / "a", f"another {turn}")
        await eventually(lambda: (root / "a").read_text() == "a")
        await eventually(lambda t=turn: len(bench.events("drift")) > t)  # type: ignore[misc]
    rewrite(root / "a", "the last word, for now")
    await eventually(lambda: bench.events("drift")[-1]["action"] == "held")
    assert bench.events("drift")[-1]["wait_s"] == 60
    assert bench.reports()[-1]["state"] == "drifted"
    assert (root / "a").read_text() == "the last word, for now"
    bench.clock.advance(61)
    await eventually(lambda: (root / "a").read_text() == "a")


async def test_without_watching_it_looks_at_its_interval(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "root"
    bench.take(1, config(root, watch_files=False, interval_s=100))
    await bench.reported(1, "applied")
    (root / "a").unlink()
    bench.clock.advance(99)
    bench.take(1, config(root, watch_files=False, interval_s=100))  # wakes it
    await eventually(lambda: len(bench.reports()) > 1)
    assert not (root / "a").exists()
    bench.clock.advance(2)
    bench.take(1, config(root, watch_files=False, interval_s=100))
    await eventually(lambda: (root / "a").exists())


async def test_what_can_be_repaired_is_when_another_can_not(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "root"
    inner = {str(root / "d" / "x"): {"content": "x"}}
    wanted = config(root)
    bench.take(1, {**wanted, "files": {**wanted["files"], **inner}})
    await bench.reported(1, "applied")
    (root / "d" / "x").unlink()
    (root / "d").rmdir()
    (root / "d").write_text("a file in the way")
    await eventually(lambda: "no folder" in str(bench.reports()[-1]["differences"]))
    assert bench.reports()[-1]["state"] == "drifted"
    assert bench.reports()[-1]["differences"][-1]["path"].endswith("~1d~1x")
    (root / "d").unlink()
    await eventually(lambda: (root / "d" / "x").exists())
    await eventually(lambda: bench.reports()[-1]["state"] == "applied")


async def test_a_stopped_unit_is_started_again_and_restarted_after_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "WATCH_S", 0.005)
    systemctl = Systemctl(tmp_path)
    bench = Bench(host_parts(tmp_path, systemctl.handler()))
    root = tmp_path / "root"
    wanted = config(root)
    unit = {"cam.service": {"enabled": True, "running": True, "restart_on": [str(root / "a")]}}
    bench.take(1, {**wanted, "services": unit})
    await bench.reported(1, "applied")
    assert systemctl.has("cam.service", "enabled")
    assert systemctl.has("cam.service", "running")
    (root / "a").write_text("by hand")
    await eventually(lambda: "restart -- cam.service" in systemctl.calls())
    (systemctl.state / "cam.service.running").unlink()
    bench.clock.advance(301)
    bench.take(1, {**wanted, "services": unit})
    await eventually(lambda: systemctl.has("cam.service", "running"))
    await bench.stop()


# Pure


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=60))
def test_patience_is_bounded_and_ends(waits: list[float]) -> None:
    patience, now_s = Patience(), 0.0
    for wait_s in waits:
        now_s += wait_s
        if patience.due("a", now_s):
            patience.repaired("a", now_s)
        assert 0 <= patience.wait_s("a", now_s) <= LONGEST_WAIT_S
        assert patience.due("b", now_s)
    assert patience.due("a", now_s + LONGEST_WAIT_S)


def test_who_is_calm_for_long_is_repaired_at_once() -> None:
    patience = Patience()
    for turn in range(10):
        assert patience.due("a", turn * CALM_S)
        patience.repaired("a", turn * CALM_S)
        assert patience.due("a", turn * CALM_S)


def test_a_fight_takes_longer_and_longer() -> None:
    patience, now_s, waits = Patience(), 0.0, []
    for _ in range(12):
        patience.repaired("a", now_s)
        waits.append(patience.wait_s("a", now_s))
        now_s += waits[-1]
    assert waits[:6] == [0, 0, 60, 120, 240, 480]
    assert waits[-1] == LONGEST_WAIT_S
