"""What is wrong with a selector is said with the place; and nothing that is written breaks the reader."""

import re
from pathlib import Path

import pytest
from farshore_center.selectors import SelectorError, parse, render
from farshore_center.selectors.builder import MAX_NESTING
from farshore_center.selectors.grammar import MAX_LENGTH
from farshore_center.selectors.model import MAX_TERMS, InOverlay, expand
from hypothesis import example, given
from hypothesis import strategies as st

PAGE = (Path(__file__).parents[2] / "docs" / "selectors.md").read_text()
WRITTEN = [
    line
    for block in re.findall(r"```selector\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
OF_SALT = re.findall(r"^\| `[A-Z]@.*? \| (.*?) \|$", PAGE, re.MULTILINE)

FAULTS = [
    ("nothing", "", 1, "the selector is empty", "a term"),
    ("spaces alone", "   ", 1, "the selector is empty", "a term"),
    ("a slip of the pen", "lable.env=prod", 1, "did you mean label?", "label.K"),
    ("after a term", "all lable.env=prod", 5, "'lable.env' can't stand here", "and, or"),
    ("no operator", "label.env", 10, "too early", "an operator: = != < <= > >= ~ =~ in within"),
    ("no value", "label.env=", 11, "too early", "a value"),
    ("no closing", "(all", 5, "too early", "and, or, )"),
    ("no opening", "all)", 4, "')' can't stand here", "and, or, the end"),
    ("a big keyword", "all AND all", 5, "did you mean and?", "and, or"),
    ("an open list", "label.a in (b", 14, "too early", "a comma, )"),
    ("an empty list", "label.a in ()", 13, "')' can't stand here", "a value"),
    ("an unknown state", "state=onlin", 7, "did you mean online?", "online or offline"),
    ("a state in order", "state<online", 6, "state can't be compared by <", "= != in"),
    ("a name in order", "node>a", 5, "node can't be compared by >", "= != ~ =~ in"),
    ("has of a state", "has(state)", 5, "every node has a state", "label.K or fact.PATH"),
    ("a label without a name", "label.=a", 1, "can't stand here", "a term"),
    ("an open set", "all and node:web[1", 14, "the [ of 'web[1' is not closed", "a ]"),
    ("an upside-down range", "node:web[9-1]", 6, "the range 9-1 is empty", "1-9"),
    ("a bad regular expression", "node=~'(a'", 7, "missing )", "RE2 syntax"),
    ("what RE2 does not know", "node=~'(?=a)'", 7, "can't be read", "RE2 syntax"),
    ("a bad subnet", "fact.ip within 10.0.0.1/8", 16, "has host bits set", "10.0.0.0/8"),
    ("a bad group", "group:EU", 7, "expected 1 to 64", "a group's path"),
    ("a group of everyone", "group:all", 7, "stands for every", "a group's path"),
    ("no group", "all and group:", 15, "no path follows", "/ for the root"),
    ("no name", "node:", 6, "no name follows", "a glob"),
    ("a bad overlay", "overlay:GPU", 9, "expected 1 to 64", "an overlay's name"),
    ("half a character", 'label.a="\\ud800"', 9, "can't be read", "escapes as in JSON"),
    ("character 0", 'label.a="\\u0000"', 9, "character 0", ""),
    ("an open text", "label.a='b", 9, "can't stand here", "a value"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "column", "detail", "expected"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_a_fault_is_shown_with_its_place(
    text: str, column: int, detail: str, expected: str
) -> None:
    with pytest.raises(SelectorError) as caught:
        parse(text)
    assert caught.value.column == column
    assert detail in str(caught.value)
    assert expected in caught.value.expected
    assert caught.value.text == text


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("not " * 2000 + "all", f"more than {MAX_NESTING} levels"),
        ("(" * 4000 + "all" + ")" * 4000, f"more than {MAX_NESTING} levels"),
        ("(" * 8000, "too early"),
        (" or ".join(["all"] * (MAX_TERMS + 1)), f"{MAX_TERMS + 1} terms"),
        ("label.a=" + "x" * MAX_LENGTH, "characters"),
    ],
)
def test_what_is_too_large_is_refused_and_breaks_nothing(text: str, detail: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse(text)
    assert detail in str(caught.value)


def test_saved_selectors_count_for_the_length() -> None:
    with pytest.raises(SelectorError, match="terms with those of the overlays"):
        expand(parse("overlay:a or overlay:b"), lambda _: parse(" or ".join(["all"] * MAX_TERMS)))


def test_the_deepest_selector_can_be_rendered() -> None:
    text = "not (all or " * (MAX_NESTING // 2) + "all" + ")" * (MAX_NESTING // 2)
    assert render(parse(text)) == text


PIECES = st.sampled_from(
    ["all", "and", "or", "not", "(", ")", " ", "label.a", "fact.a", "node", "group", "state", "=", "~",
     "=~", "in", "within", "has", ",", "x", '"', "'", "4", "[", "]", "!", "\\", ":", "node:", "*", "\x00"]
)  # fmt: skip


@given(st.lists(PIECES).map("".join) | st.text())
@example("node:\x00")
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    try:
        selector = parse(text)
    except SelectorError as exc:
        fault = exc
    else:
        assert parse(render(selector)) == selector
        return
    assert 1 <= fault.column <= len(text) + 1
    assert fault.detail


def test_the_page_has_examples() -> None:
    assert len(WRITTEN) >= 12
    assert len(OF_SALT) >= 7


@pytest.mark.parametrize("text", WRITTEN)
def test_an_example_of_the_page_can_be_read(text: str) -> None:
    written = parse(text)
    assert parse(render(written)) == written


@pytest.mark.parametrize("cell", OF_SALT)
def test_what_stands_for_salt_s_can_be_read(cell: str) -> None:
    found = [code.replace("\\|", "|") for code in re.findall(r"`([^`]+)`", cell)]
    assert found
    assert all(parse(text) for text in found)


def test_every_term_and_operator_stands_on_the_page() -> None:
    terms = set(re.findall(r"^\| `([^`]+)`", PAGE, re.MULTILINE))
    assert terms >= {
        "all", "node:GLOB", "group:PATH", "group:PATH/**", "overlay:NAME", "label.K OP VALUE",
        "fact.PATH OP VALUE", "state=online", "node OP VALUE", "has(label.K)", "=", "!=", "in (a, b)",
        "~", "=~", "<", "within",
    }  # fmt: skip
    assert parse("overlay:gpu") == InOverlay(name="gpu")
