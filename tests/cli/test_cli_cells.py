"""Cells and tables: harmless whatever a node sent, readable for people, countable for programs."""

import io
import unicodedata

import pytest
from farshore_center.cli.cells import (
    age,
    block,
    clean,
    counted,
    flat,
    pairs,
    parse_duration,
    quantity,
    ranges,
    scalar,
    span,
    took,
)
from farshore_center.cli.tables import Cell, Sheet, left, plain, rich_table, right, width_of
from hypothesis import given
from hypothesis import strategies as st

texts = st.text(max_size=30)


@given(texts)
def test_a_clean_text_holds_nothing_that_steers_a_terminal(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)


@given(texts)
def test_a_block_keeps_its_lines_and_nothing_else(text: str) -> None:
    for line in block(text).split("\n"):
        assert line.replace("\t", "").isprintable()


@given(texts.filter(str.isprintable))
def test_what_is_printable_is_not_touched(text: str) -> None:
    assert clean(text) == text


def test_steering_characters_are_made_visible() -> None:
    assert clean("\x1b[2J\x9b\u202e\U000e0001") == "\\x1b[2J\\x9b\\u202e\\U000e0001"
    assert block("a\r\nb\rc") == "a\nb\\x0dc"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "%", "-"),
        (3.14, "%", "3.14%"),
        (40.0, "%", "40%"),
        (99.96, "%", "100.0%"),
        (0, "", "0"),
        (1234.5, "", "1234"),
        (2.5e7, "", "2.5e+07"),
        (21.46, "°C", "21.5 °C"),
        (512, "B", "512 B"),
        (1023.6, "B", "1.0 KiB"),
        (1536, "B/s", "1.5 KiB/s"),
        (8 * 1024**3, "B", "8.0 GiB"),
        (5 * 1024**5, "B", "5120 TiB"),
    ],
)
def test_quantities(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (3600, "1h"), (3720, "1h02m"), (90000, "1d1h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_ages_and_durations_of_times_that_are_missing_odd_or_ahead() -> None:
    assert age("1970-01-01T00:00:10Z", 70_000) == "1m"
    assert age("1970-01-01T01:00:10+01:00", 70_000) == "1m"
    assert age("1970-01-01T00:00:10Z", 0) == "0s"
    assert [age(text, 0) for text in (None, "", "yesterday", "1970-01-01T00:00:00")] == ["-"] * 4
    assert took("1970-01-01T00:00:00Z", 1234) == "1.23s"
    assert took("1970-01-01T00:00:00Z", 12_340) == "12.3s"
    assert took(None, 1) == took("1970-01-01T00:00:00Z", None) == "-"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1.5h", 5400), ("1d", 86400)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "0s", "5 m", "1w", "1e3"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="expected for example 90s"):
        parse_duration(text)


def test_small_texts() -> None:
    assert pairs({"line": 3, "env": "prod"}) == "env=prod,line=3"
    assert pairs({}) == scalar(None) == scalar("") == "-"
    assert scalar({"a": [1, "\x07"]}) == '{"a":[1,"\\u0007"]}'
    assert ranges([[1, 1], [3, 5]]) == "1, 3-5"
    assert ranges([[n, n] for n in range(7)], at_most=2) == "0, 1, 5 more"
    assert [counted(n, "node") for n in (0, 1, 1200)] == ["0 nodes", "1 node", "1,200 nodes"]
    assert flat({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}


cells = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(cells, cells, cells), max_size=5))
def test_a_plain_table_has_every_cell_in_its_column(rows: list[tuple[str, str, str]]) -> None:
    sheet = Sheet(columns=[*left("a"), *right("b"), *left("c")])
    for row in rows:
        sheet.add(row[0], Cell(row[1], "red"), row[2])
    header, *lines = plain(sheet).split("\n")
    assert header.split() == ["A", "B", "C"]
    assert [tuple(line.split()) for line in lines] == rows
    ends = {width_of(line) - width_of(row[2]) for line, row in zip(lines, rows, strict=True)}
    assert len(ends) <= 1
    assert all(line == line.rstrip() for line in lines)


def test_wide_and_combining_characters_keep_columns_straight() -> None:
    assert width_of("日本") == 4
    assert width_of(unicodedata.normalize("NFD", "é")) == 1


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        Sheet(columns=left("a")).add("1", "2")


def test_brackets_in_a_cell_are_no_markup_on_a_terminal() -> None:
    from rich.console import Console

    sheet = Sheet(columns=left("a"))
    sheet.add("[red]x[/red]")
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with console.capture() as shown:
        console.print(rich_table(sheet))
    assert "[red]x[/red]" in shown.get()
