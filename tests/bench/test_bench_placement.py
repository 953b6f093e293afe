"""The bench of placement: what it reads, what it does, what it says; on a small trace of its own."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from farshore_center.placement import POLICIES

from bench.errors import BenchError
from bench.placement import __main__ as program
from bench.placement.experiment import ARRIVED, Run, arrivals, pushing, run, shuffled
from bench.placement.findings import PAPER, POLICY_NAMES, Row, outcomes, rows
from bench.placement.picture import axis_start, picture
from bench.placement.trace import traces

DOCS = Path(__file__).parents[2] / "docs"
NODES = "sn,cpu_milli,memory_mib,gpu,model\n" + "".join(
    f"n{number},16000,65536,{number % 3},{'T4' if number % 2 else 'A10'}\n" for number in range(9)
)
TASKS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n" + (
    "a,1000,512,0,0,,LS\nb,2000,512,1,300,,LS\nc,4000,1024,1,1000,T4|A10,BE\nd,4000,1024,2,1000,A10,BE\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "openb_node_list_gpu_node.csv").write_text(NODES)
    (tmp_path / "openb_pod_list_small.csv").write_text(TASKS)
    return tmp_path


def test_a_trace_is_read_as_it_stands_there(folder: Path) -> None:
    (trace,) = traces(folder)
    assert (trace.name, len(trace.nodes), trace.gpus) == ("small", 9, 9)
    assert trace.nodes[2].gpus == ("A10", "A10")
    assert trace.nodes[2].memory_bytes == 64 << 30
    assert [(task.gpus, task.gpu_milli) for task in trace.tasks] == [
        (0, 0),
        (0, 300),
        (1, 0),
        (2, 0),
    ]
    assert trace.tasks[2].gpu_models == {"T4", "A10"}
    assert trace.tasks[0].gpu_models == frozenset()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "openb_pod_list_small.csv").unlink(), "0 files \\*pod_list_"),
        (lambda folder: _replace(folder, ",gpu_spec", ",spec"), "line 2: no column 'gpu_spec'"),
        (lambda folder: _replace(folder, "b,2000", "b,some"), "line 3: invalid literal .* 'some'"),
        (lambda folder: _replace(folder, "2,1000", "2,500"), "line 5: 2 GPUs of 500 thousandths"),
        (lambda folder: _replace(folder, "1,300", "1,-3"), "line 3: .*gpu_milli must be from 0"),
        (lambda folder: _replace(folder, TASKS, ""), "openb_pod_list_small.csv is empty"),
    ],
)
def test_what_is_no_trace_is_told_with_its_line(
    folder: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(folder)
    with pytest.raises(BenchError, match=said):
        traces(folder)


def _replace(folder: Path, old: str, new: str) -> None:
    file = folder / "openb_pod_list_small.csv"
    file.write_text(file.read_text().replace(old, new))


def test_no_folder_is_wrong_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([str(folder / "gone")]) == 2
    assert "gone is no folder; a trace is a folder with one" in capsys.readouterr().err


def test_tasks_arrive_until_the_next_would_ask_for_more_than_is_wanted(folder: Path) -> None:
    (trace,) = traces(folder)
    arriving = arrivals(trace, random.Random(1))
    asked = sum(task.gpu_total_milli for task in arriving)
    most = ARRIVED * trace.gpus * 1000
    assert most - 2000 < asked <= most
    assert sorted(map(repr, arriving[:4])) == sorted(map(repr, trace.tasks)), (
        "all of them once, first"
    )
    names = [node.node for node in shuffled(trace.nodes, random.Random(1))]
    assert len(set(names)) == 9
    assert sorted(names) != names


def test_a_run_can_be_repeated_and_accounts_for_all(folder: Path) -> None:
    (trace,) = traces(folder)
    one, other = (run(trace, POLICIES["default"], 7) for _ in range(2))
    assert (one.allocated_pct, one.dropped) == (other.allocated_pct, other.dropped)
    assert 0 < one.allocated_pct <= 100
    assert 0 < one.dropped < one.decisions


def test_who_gives_way_is_searched_for_once_for_each_that_fits_nowhere(folder: Path) -> None:
    (trace,) = traces(folder)
    taken = pushing(trace, POLICIES["default"], 7, 5)
    assert len(taken) == 5
    assert min(taken) > 0


def row(policy: str, *percents: float, trace: str = "default", **more: Any) -> Row:
    runs = tuple(
        Run(allocated_pct=each, decisions=10_000, dropped=1, wall_s=2.0, cpu_s=1.0)
        for each in percents
    )
    given: dict[str, Any] = {"nodes": 1213, "paper_pct": PAPER.get((trace, policy)), "runs": runs}
    return Row(trace=trace, policy=policy, **given | more)


@pytest.mark.parametrize(
    ("bestfit", "fgd", "own", "held"),
    [
        (93.5, 95.4, 95.4, {"bestfit": True, "fgd": True, "default": True}),
        (93.59, 94.88, 95.38, {"bestfit": False, "fgd": False, "default": False}),
        (92.57, 95.9, 95.5, {"bestfit": False, "fgd": False, "default": False}),
    ],
)
def test_what_holds(bestfit: float, fgd: float, own: float, held: dict[str, bool]) -> None:
    table = [row("bestfit", bestfit), row("fgd", fgd), row("default", own)]
    found = outcomes(table, table[0].runs, [[1.0, 2.0, 9.0], []])
    speed, *others = found.verdicts
    assert (speed.name, speed.measured, speed.held) == ("placement.speed default", 5000, True)
    assert {v.name.split()[0].partition(".")[2]: v.held for v in others} == held
    figures = {figure.name: figure.runs.median for figure in found.figures}
    assert figures.pop("placement.particular") == 5000
    assert figures == {"placement.preempt median": 2.0, "placement.preempt longest": 9.0}


def test_a_trace_that_is_not_the_papers_is_compared_with_nothing(folder: Path) -> None:
    (trace,) = traces(folder)
    runs = {name: row(name, 90.0).runs for name in POLICY_NAMES}
    assert [its.paper_pct for its in rows(trace, runs)] == [None, None, None]


def test_the_whole_program_writes_its_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "HERE", folder)
    monkeypatch.setattr(program, "PARTICULAR", 5)
    monkeypatch.setattr(program, "PUSHING", 5)
    assert program.main([str(folder), "--seeds", "2"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in POLICY_NAMES)
    report = json.loads((folder / "report-placement.json").read_text())
    assert [its["policy"] for its in report["placement"]] == list(POLICY_NAMES)
    assert all(len(its["runs_pct"]) == 2 for its in report["placement"])
    ElementTree.fromstring((folder / "report-placement.svg").read_text())  # noqa: S314 # we wrote it
    page = (DOCS / "bench.md").read_text()
    for field in report["placement"][0]:
        assert f"`{field}`" in page, field
    for promise in ("placement.speed", "placement.bestfit", "placement.fgd", "placement.default"):
        assert f"`{promise}`" in page, promise
    for figure in ("placement.particular", "placement.preempt"):
        assert figure in shown
        assert f"`{figure}`" in page


def test_the_picture_shows_every_row_and_the_papers_mark() -> None:
    table = [row("fgd", 95.0), row("default", 96.0)]
    report = {"date": "2026-01-01T00:00:00", "placement": [its.record() for its in table]}
    drawn = picture(report)
    assert drawn.count("<rect") == 2
    assert drawn.count('stroke-width="2"') == 1, "the paper has no figure of our own policy"
    assert "95.00 %" in drawn
    assert [axis_start([91.4, 95.0]), axis_start([12.0]), axis_start([1.0])] == [85, 10, 0]


@pytest.mark.skipif("TRACE" not in os.environ, reason="names the folder of a real trace")
def test_on_the_trace_that_is_named_our_policy_allocates_no_less_than_fgd() -> None:
    for trace in traces(Path(os.environ["TRACE"])):
        own, fgd = (run(trace, POLICIES[name], 42) for name in ("default", "fgd"))
        assert own.allocated_pct >= fgd.allocated_pct - 0.1
