"""The bench of failover: what it takes down and says; and the whole of it, with a few nodes."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench.failover import __main__ as program
from bench.failover import nodes, process
from bench.failover.deeds import Moved
from bench.failover.findings import Found, Placed, Row, outcomes
from bench.failover.journal import Journal, Pen, parse
from bench.failover.picture import axis_end, picture
from bench.failover.stage import Contract
from bench.failover.table import tables

DOCS = Path(__file__).parents[2] / "docs"
KEEP = Contract(name="keep", disconnect={"lost_after_s": 1.0}, tasks=2, count=3)


def moved(took_s: float, *, way: str = "killed", task: str = "keep-1", number: int = 0) -> Moved:
    return Moved(
        way=way,
        key=(task, number),
        epoch=7,
        killed_s=100.0,
        at_ms=5000.0,
        began_s=100.0 + took_s,
    )


def found(*rows: Row, simulated: tuple[float, ...] = (0.2,), mistaken: int = 0) -> Found:
    return Found(
        nodes=1000,
        rows=rows,
        simulated=simulated,
        placed=Placed(instances=100, sent_s=0.5, running_s=2.0),
        mistaken=mistaken,
        cores={"with work": 0.3},
    )


def test_the_run_of_the_highest_epoch_is_the_newest_wherever_it_began(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    pen, other = Pen(tmp_path / "journal"), Pen(tmp_path / "journal")
    pen.began("n1", "web.0.5")
    other.began("n2", "web.0.9")
    pen.began("n1", "web.0.5")
    pen.began("n1", "a.b.1.3")
    assert [began.id for began in journal.follow()] == ["web.0.5", "web.0.9", "web.0.5", "a.b.1.3"]
    assert journal.follow() == []
    assert journal.newest["web", 0].node == "n2"
    assert [began.key for began in journal.on("n1")] == [("a.b", 1)]
    journal.close()


def test_a_line_that_is_not_whole_yet_waits(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    path.write_text("1.5 n1 web.0.5\n2.5 n1 we")
    assert [began.at_s for began in journal.follow()] == [1.5]
    with path.open("a") as file:
        file.write("b.1.6\n")
    assert journal.follow() == [parse("2.5 n1 web.1.6")]
    journal.close()


def test_what_was_noticed_is_that_of_the_grant_that_died() -> None:
    lost = {("keep-1", 0, 7): 5900.0, ("keep-1", 1, 8): 9000.0}
    its = nodes.rows([moved(1.0), moved(1.2, number=1), moved(3.0, way="frozen")], lost, [KEEP])
    assert [row.way for row in its] == ["killed", "frozen"]
    assert [*its[0].took, *its[1].took] == pytest.approx([1.0, 1.2, 3.0])
    assert list(its[0].noticed) == pytest.approx([0.9]), "another grant was lost at 9 s"
    assert list(its[0].rest) == pytest.approx([0.1])


@pytest.mark.parametrize(
    ("took", "runs", "real", "held"),
    [
        ([1.0] * 99 + [9.0], (0.2,), [0.3], (True, True, True)),
        ([1.0] * 98 + [9.0] * 2, (0.2,), [0.3], (False, True, True)),
        ([1.0], (0.2, 1.1), [0.3, 1.2], (True, False, False)),
    ],
    ids=["99 of 100 count", "two are too late", "the slowest process counts"],
)
def test_what_holds(
    took: list[float], runs: tuple[float, ...], real: list[float], held: tuple[bool, ...]
) -> None:
    (row,) = nodes.rows([moved(seconds) for seconds in took], {}, [KEEP])
    outcome = outcomes(found(row, simulated=runs), real)
    assert tuple(verdict.held for verdict in outcome.verdicts) == held
    assert {figure.name: figure.runs.values for figure in outcome.figures}["failover.loop"] == (
        200,
    )


def test_a_part_that_was_not_measured_has_no_figure() -> None:
    assert [its.name for its in outcomes(None, [0.3]).verdicts] == ["failover.process real"]
    assert outcomes(None, []).verdicts == ()


def test_the_nodes_are_divided_among_processes() -> None:
    assert nodes.split(10, 4) == [3, 3, 2, 2]
    assert nodes.share_of(nodes.KEEP, 0.001).count == 2


def test_the_picture_has_a_line_for_each_row() -> None:
    rows = nodes.rows([moved(1.0), moved(7.5, way="frozen")], {}, [KEEP])
    report = {
        "date": "2026-01-01T00:00:00",
        "quick": False,
        "machine": {"cores": 2, "cpu": "x"},
        "failover": [row.record() for row in rows],
    }
    drawn = picture(report)
    ElementTree.fromstring(drawn)  # noqa: S314 # we drew it
    assert drawn.count("<polyline") == 2
    assert "keep, frozen: p99 7.5 s of 1" in drawn
    assert (axis_end([]), axis_end([7.5])) == (6, 8)


@pytest.mark.processes
def test_the_whole_bench_with_a_few_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "HERE", tmp_path)
    small: dict[str, Any] = {"QUICK_NODES": 14, "QUICK_ALONE": 4, "QUICK_TOGETHER": (2, 2)}
    small |= {
        "QUICK_RUNS": 4,
        "SETTLE_S": 0.5,
        "IDLE_S": 0.2,
        "NODES": 14,
        "PAUSE_S": 0.2,
        "PAUSE_TOGETHER_S": 0.2,
    }
    small["KEEP"] = Contract(name="keep", disconnect={"lost_after_s": 1.0}, tasks=2, count=10)
    small["STOP"] = Contract(
        name="stop",
        disconnect={"on_disconnect": "stop", "lost_after_s": 2.5},
        tasks=1,
        count=6,
        mortal=True,
    )
    for name, value in small.items():
        monkeypatch.setattr(nodes, name, value)
    for name, value in {"INSTANCES": 2, "CALM_S": 0.1}.items():
        monkeypatch.setattr(process, name, value)
    assert program.main(["--quick"]) == 0
    report = json.loads((tmp_path / "report-failover.json").read_text())
    measured = {each["name"]: each for each in report["promises"]}
    assert {*measured} == {"failover.node", "failover.process simulated", "failover.process real"}
    assert all(each["measured"] > 0.1 for each in measured.values()), "a restart waits 0.2 s"
    rows = {(row["contract"], row["way"]): row for row in report["failover"]}
    assert {way for _, way in rows} == {"killed", "frozen"}
    for (contract, way), row in rows.items():
        if contract == "keep" and way == "frozen":
            assert row["p50_s"] > 1.9, "silence is three heartbeats"
        if contract == "stop":
            assert row["p50_s"] > 1.4, "nothing is granted before the lease is over"
    ElementTree.fromstring((tmp_path / "report-failover.svg").read_text())  # noqa: S314 # we drew it
    Console(file=None, width=120).print(tables(report))
    shown = capsys.readouterr().out
    assert "frozen" in shown
    page = (DOCS / "bench.md").read_text()
    for field in (*report["failover"][0], "contracts", "heartbeat_s"):
        assert f"`{field}`" in page, field
    for promise in ("failover.node", "failover.process"):
        assert f"`{promise}`" in page, promise
