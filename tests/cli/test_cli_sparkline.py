"""Lines of blocks: shape, gaps in time, counters as rates."""

from farshore_center.cli.sparkline import BLOCKS, GAP, on_grid, rate, sparkline
from farshore_center.cli.telemetry import USUAL, choose, is_counter, unit_of
from hypothesis import example, given
from hypothesis import strategies as st

numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.lists(st.none() | numbers, max_size=60)


@given(values)
def test_one_character_a_value_and_a_gap_for_each_null(series: list[float | None]) -> None:
    line = sparkline(series)
    assert [char == GAP for char in line] == [value is None for value in series]
    assert set(line) <= set(BLOCKS + GAP)


@example([0.0, 5e-324])
@example([-5e-324, 0.0])
@given(st.lists(numbers, min_size=2, max_size=60))
def test_a_higher_value_is_never_a_lower_block(series: list[float]) -> None:
    line = sparkline(series)
    by_value = sorted(zip(series, line, strict=True), key=lambda pair: pair[0])
    heights = [BLOCKS.index(block) for _, block in by_value]
    assert heights == sorted(heights)


def test_extremes_reach_the_lowest_and_the_highest_block() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BLOCKS
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([5.0, None, 5.0]) == "▄ ▄"
    assert sparkline([]) == ""


def test_a_rate_is_per_second_and_empty_at_resets_and_gaps() -> None:
    t = [0, 1000, 3000, 4000, 5000, 6000, 6000]
    v = [10, 20, 60, 5, None, 7, 9]
    assert rate(t, v) == [None, 10, 20, None, None, None, None]
    assert rate([], []) == []


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.none() | st.floats(-1e9, 1e9)), max_size=80),
    st.integers(1, 50),
)
def test_a_grid_is_never_wider_than_asked(
    points: list[tuple[int, float | None]], width: int
) -> None:
    points.sort(key=lambda point: point[0])
    t, v = [p[0] for p in points], [p[1] for p in points]
    grid = on_grid(t, v, start_ms=0, end_ms=10**7, width=width)
    assert len(grid) <= max(width, 2)
    known = [value for value in v if value is not None]
    assert any(cell is not None for cell in grid) == bool(known)
    for cell in grid:
        assert cell is None or min(known) - 1 <= cell <= max(known) + 1


def test_time_without_samples_is_a_gap_even_where_no_null_says_so() -> None:
    grid = on_grid([0, 10, 20, 60, 70], [1, 1, 1, 2, 2], start_ms=0, end_ms=70, width=40)
    assert sparkline(grid) == "▁▁▁   ██"


def test_jitter_of_the_sampling_is_no_gap() -> None:
    t = [0, 104, 196, 330, 448, 551, 652]
    grid = on_grid(t, [1.0] * len(t), start_ms=0, end_ms=652, width=40)
    assert None not in grid


def test_many_samples_are_averaged_into_the_width() -> None:
    grid = on_grid(range(1000), [float(n) for n in range(1000)], start_ms=0, end_ms=999, width=10)
    assert len(grid) == 10
    assert sparkline(grid)[0] == BLOCKS[0]
    assert sparkline(grid)[-1] == BLOCKS[-1]


def test_units_come_from_the_suffix() -> None:
    assert unit_of("cpu.percent{cpu=0}") == "%"
    assert unit_of("mem.used_bytes") == "B"
    assert unit_of("net.receive_bytes_total{interface=eth0}") == "B/s"
    assert unit_of("net.receive_packets_total") == "/s"
    assert unit_of("temp.celsius{sensor=x_total}") == "°C"
    assert unit_of("load.1m") == ""
    assert not is_counter("temp.celsius{sensor=x_total}")


def test_a_glob_may_leave_the_label_out() -> None:
    names = ["fs.percent{mount=/}", "fs.percent{mount=/var}", "fs.used_bytes{mount=/}", "load.1m"]
    assert choose(names, ["load*", "fs.percent"]) == ["load.1m", *names[:2]]
    assert choose(names, ["nothing"]) == []


def test_the_usual_series_are_a_dozen_and_not_all_disks() -> None:
    names = [f"fs.percent{{mount=/{n}}}" for n in range(30)] + ["cpu.percent", "mem.percent"]
    assert choose(names, []) == ["cpu.percent", "mem.percent", names[0], names[1]]
    odd = [f"my.series{n:02}" for n in range(30)]
    assert choose(odd, []) == odd[:USUAL]
