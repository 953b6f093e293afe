"""Many names in few characters, and back; a whole in parts as a bar; lines that fit."""

import pytest
from farshore_center.cli.bars import BAD, BUSY, DONE, OPEN, Part, bar, parts_of
from farshore_center.cli.folding import MAX_UNFOLDED, fold, folded, shortened, unfold
from farshore_center.cli.screen import Line, columns, cut, plain, width_of_line, wrapped
from farshore_center.cli.tables import Cell
from hypothesis import example, given
from hypothesis import strategies as st

NAMES = st.lists(
    st.one_of(
        st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True),
        st.builds("{}{}{}".format, st.sampled_from(["pi-", "pi-0", "", "a1b-"]),
                  st.integers(0, 120), st.sampled_from(["", "-eu", "x"])),
    ),
    unique=True,
)  # fmt: skip


@given(NAMES)
@example(["pi-7", "pi-07", "pi-8", "pi-08", "pi-10", "pi-100"])
@example(["pi-" + "9" * 40, "pi-1"])
def test_what_is_folded_unfolds_to_the_same_names(names: list[str]) -> None:
    back = [name for word in folded(names) for name in unfold(word)]
    assert sorted(back) == sorted(names)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["pi-3"], "pi-3"),
        (["pi-2", "pi-1", "pi-3", "pi-7"], "pi-[1-3,7]"),
        (["pi-09", "pi-10", "pi-11"], "pi-[09-11]"),
        (["pi-9", "pi-10", "pi-11"], "pi-[9-11]"),
        (["kiosk", "pi-1", "b2-x", "b3-x"], "kiosk,b[2-3]-x,pi-1"),
        ([f"sim-{n:04d}" for n in range(1, 1001) if n != 501], "sim-[0001-0500,0502-1000]"),
    ],
)
def test_folded_names_are_those_of_clustershell(names: list[str], text: str) -> None:
    assert fold(names) == text


@pytest.mark.parametrize("word", ["pi-[", "pi-[]", "pi-[a]", "pi-[3-1]", "pi-[1][2]", "pi-[1-]"])
def test_a_wrong_word_is_refused_with_what_was_expected(word: str) -> None:
    with pytest.raises(ValueError, match="expected for example"):
        unfold(word)


def test_a_word_for_the_whole_world_is_refused() -> None:
    assert len(unfold(f"pi-[1-{MAX_UNFOLDED}]")) == MAX_UNFOLDED
    with pytest.raises(ValueError, match="use a selector"):
        unfold("pi-[1-999999999999999999]")


@given(NAMES, st.integers(12, 60))
def test_shortened_names_fit_and_none_is_forgotten(names: list[str], width: int) -> None:
    text = shortened(names, width)
    assert len(text) <= width or not names
    if text != fold(names) and " +" in text:
        shown, _, rest = text.rpartition(" +")
        kept = sum(len(unfold(word)) for word in folded(names[: len(names) - int(rest)]))
        assert shown == fold(names[:kept])


@given(st.lists(st.integers(0, 5000), max_size=6), st.integers(1, 200))
def test_a_bar_fills_its_width_and_shows_every_part(numbers: list[int], width: int) -> None:
    signs = [DONE, BAD, BUSY, OPEN, "a", "b"]
    parts = [Part(number, sign) for number, sign in zip(numbers, signs, strict=False)]
    cells = bar(parts, width)
    text = "".join(cell.text for cell in cells)
    assert len(text) == width
    shown = [part for part in parts if part.number]
    if len(shown) <= width:
        for part in shown:
            assert part.sign in text


def test_one_failure_among_a_thousand_is_seen_and_999_are_no_whole() -> None:
    cells = bar(parts_of({"succeeded": 999, "failed": 1}, {}), 20)
    assert "".join(cell.text for cell in cells) == DONE * 19 + BAD


TEXTS = st.text(alphabet=st.sampled_from("ab 日é"), max_size=30)


@given(st.lists(TEXTS, max_size=4), st.integers(1, 40))
def test_a_cut_line_fits_and_says_that_it_is_cut(texts: list[str], width: int) -> None:
    line = [Cell(text) for text in texts]
    short = cut(line, width)
    assert width_of_line(short) <= width
    if width_of_line(line) > width:
        assert plain([short]).endswith("…")
    else:
        assert short == line


@given(st.text(alphabet=st.sampled_from("ab "), max_size=80), st.integers(5, 40))
def test_a_wrapped_sentence_has_all_its_words(text: str, width: int) -> None:
    lines = wrapped(text, width, indent="  ")
    assert all(width_of_line(line) <= width for line in lines)
    if all(len(word) <= width - 3 for word in text.split()):
        assert " ".join(plain(lines).split()) == " ".join(text.split())


def test_columns_stand_below_each_other() -> None:
    rows: list[Line] = [["a", "1", "x"], [Cell("bbb", "red"), "22", ""]]
    assert plain(columns(rows, right=[1])) == "a     1  x\nbbb  22"
