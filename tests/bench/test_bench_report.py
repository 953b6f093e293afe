"""The report says what was found, in the shape that docs/bench.md promises; so do its pictures."""

import asyncio
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import __main__ as program
from bench.context import Context
from bench.errors import BenchError
from bench.model import Figure, Outcome, Runs, Verdict
from bench.picture import axis_end, picture
from bench.report import Circumstances, Failure, report
from bench.table import number, tables

DOCS = (Path(__file__).parents[2] / "docs" / "bench.md").read_text()


def figure(*values: float) -> Figure:
    return Figure(name="side", what="a <side> & more", unit="s", runs=Runs.of(values))


def verdict(measured: float) -> Verdict:
    return Verdict(
        name=f"made.up.{measured:g}",
        what="something",
        unit="s",
        promised=3.0,
        measured=measured,
        sides=(figure(1, measured),),
    )


def made(*measured: float, quick: bool = False) -> dict[str, Any]:
    circumstances = Circumstances(
        date="2026-03-01T10:00:00+00:00",
        quick=quick,
        machine={
            "cpu": "made <up> & fast",
            "cores": 2,
            "memory_bytes": 1,
            "system": "s",
            "kernel": "k",
        },
        versions={"python": "3.11.0"},
        load_before=[0.1, 0.2, 0.3],
        load_after=[1.0, 0.5, 0.4],
    )
    verdicts = tuple(verdict(value) for value in measured)
    outcome = Outcome(measure="made", verdicts=verdicts, figures=(figure(5),))
    return report(circumstances, [outcome], [Failure(measure="other", detail="no such thing")])


def test_a_promise_in_the_report() -> None:
    held, broken = made(1.5, 4.5)["promises"]
    assert (held["promised"], held["bound"], held["measured"]) == (3.0, "≤", 1.5)
    assert (held["ratio"], held["held"], broken["held"]) == (0.5, True, False)
    assert held["sides"][0]["runs"] == {
        "min": 1.0,
        "median": 1.25,
        "max": 1.5,
        "values": [1.0, 1.5],
    }


def keys(value: Any) -> set[str]:
    match value:
        case dict():
            return set(value).union(*map(keys, value.values()))
        case list():
            return set().union(*map(keys, value))
    return set()


def test_every_field_stands_in_the_docs() -> None:
    found = made(1.5)
    del found["versions"]  # its fields are names of packages
    words = set(re.findall(r"[a-z_]+", DOCS))
    assert keys(found) - words == set()


def test_every_option_and_measure_stands_in_the_docs() -> None:
    for word in ("--only", "--quick", "--json", *program.MEASURES):
        assert f"`{word}" in DOCS, word


def test_the_picture_has_a_bar_for_each_promise_in_its_colour() -> None:
    tree = ElementTree.fromstring(picture(made(1.5, 4.5, quick=True)))  # noqa: S314 # our own
    space = "{http://www.w3.org/2000/svg}"
    bars = [(float(bar.get("width", 0)), bar.get("fill")) for bar in tree.iter(f"{space}rect")]
    assert bars[1][0] == pytest.approx(3 * bars[0][0])
    assert bars[0][1] != bars[1][1]
    words = " ".join(text.text or "" for text in tree.iter(f"{space}text"))
    assert "made.up.1.5" in words
    assert "promised ≤ 3 s" in words
    assert "multiple of what was promised" in words
    assert "quick" in words
    assert "made <up> & fast" in words


@pytest.mark.parametrize(
    ("ratios", "end"), [([], 1.5), ([0.2], 1.5), ([1.45], 2.0), ([0.1, 2.3], 2.5), ([30.0], 31.5)]
)
def test_the_axis_ends_beyond_everything_measured(ratios: list[float], end: float) -> None:
    assert axis_end(ratios) == end


def test_a_picture_of_nothing_is_a_picture() -> None:
    ElementTree.fromstring(picture(made()))  # noqa: S314 # our own


def test_the_table_tells_promises_figures_and_what_could_not_be_measured() -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(tables(made(1.5, 4.5, quick=True)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for word in ("made.up.1.5", "≤ 3 s", "NO", "1 · 1.25 · 1.5 s", "no such thing", "rough"):
        assert word in text, word


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.01234, "0.0123"), (22.116, "22.1"), (999.6, "1,000"), (8522.1, "8,522")],
)
def test_figures_have_the_digits_that_they_deserve(value: float, shown: str) -> None:
    assert number(value) == shown


# The program


async def _fails(_context: Context) -> Outcome:
    raise BenchError("the thing is not there")


async def _finds(_context: Context) -> Outcome:
    return Outcome(measure="finds", verdicts=(verdict(99.0),))


async def test_a_measure_that_fails_does_not_keep_the_others_from_being_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "MEASURES", {"fails": _fails, "finds": _finds})
    said: list[str] = []
    found = await program.measure(["fails", "finds"], False, said.append)
    assert [failure["measure"] for failure in found["failures"]] == ["fails"]
    assert [promise["name"] for promise in found["promises"]] == ["made.up.99"]
    assert any("the thing is not there" in text for text in said)


@pytest.mark.parametrize(
    ("only", "code"),
    [("finds", 0), ("fails", 1)],
    ids=["a promise that does not hold is no failure", "what can't be measured is one"],
)
async def test_exit_code(
    only: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program, "MEASURES", {"fails": _fails, "finds": _finds})
    monkeypatch.setattr(program, "HERE", tmp_path)
    # In a thread, since it runs an event loop of its own; signals are for the main thread alone.
    monkeypatch.setattr("bench.program.until_asked", lambda work: work)
    assert await asyncio.to_thread(program.main, ["--only", only, "--json"]) == code
    written = (tmp_path / "report.json").read_text()
    assert json.loads(written) == json.loads(capsys.readouterr().out)
    assert (tmp_path / "report.svg").read_text().startswith("<svg")
