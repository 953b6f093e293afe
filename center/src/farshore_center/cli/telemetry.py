"""``farshore telemetry``: a node's series as numbers and a line of blocks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import fmean
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import clean, parse_duration, quantity, span
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.session import Session, command
from farshore_center.cli.sparkline import on_grid, rate, sparkline
from farshore_center.cli.tables import Sheet, left, plain, right, whole, width_of

USUAL_SERIES = (
    "cpu.percent",
    "load.1m",
    "mem.percent",
    "swap.percent",
    "temp.celsius*",
    "gpu.percent*",
    "battery.percent",
    "fs.percent*",
    "net.receive_bytes_total*",
    "net.transmit_bytes_total*",
    "disk.read_bytes_total*",
    "disk.write_bytes_total*",
    "agent.rss_bytes",
)
USUAL = 12
"""How many series are shown when none was asked for."""

USUAL_OF_A_KIND = 2
"""So that a node with many disks shows other things too."""

WIDTH = 40
NARROW = 8
MANY_SAMPLES_S = 2 * 3600
"""A longer time is asked for in steps: the line could not show more."""

_UNITS = (
    ("percent", "%"),
    ("_bytes", "B"),
    (".celsius", "°C"),
    ("_celsius", "°C"),
    ("_ms", "ms"),
    ("_mhz", "MHz"),
    ("_hz", "Hz"),
    ("_watts", "W"),
    ("_volts", "V"),
    ("_amperes", "A"),
    ("_rpm", "rpm"),
    ("_dbm", "dBm"),
    ("_seconds", "s"),
    ("_s", "s"),
)
_TOTAL = "_total"


def register(app: typer.Typer) -> None:
    command(app, "telemetry")(telemetry)


async def telemetry(
    session: Session,
    node: Annotated[str, typer.Argument(help="The node's name.")],
    series: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERIES-GLOB]...", help="As 'net.*'; without, the usual dozen."),
    ] = None,
    last: Annotated[str, typer.Option(help="How far back: 90s, 15m, 2h, 1d.")] = "15m",
) -> None:
    """Series of a node: lowest, mean, highest, last, and their course. Counters as rates."""
    from farshore_center.cli.client import segment

    try:
        length_s = parse_duration(last)
    except ValueError as exc:
        raise BadUsageError(f"--last {exc}") from exc
    globs = series or []
    path = f"/nodes/{segment(node)}/telemetry"
    async with session.connect() as client:
        document = await client.get(path, ask_for(globs or USUAL_SERIES, length_s))
        if not globs and not document["series"]:
            document = await client.get(path, ask_for((), length_s))
        now_ms = client.now_ms()
    found = {name: document["series"][name] for name in choose(document["series"], globs)}
    if session.as_json:
        session.document({**document, "series": found})
        return
    lines = read(found)
    if not lines:
        wanted = " ".join(clean(glob) for glob in globs) or "any series"
        session.text(f"no samples of {wanted} in the last {span(length_s)}")
        return
    sheet = telemetry_sheet(lines)
    if session.terminal:
        sheet = telemetry_sheet(lines, fitting(sheet, session.console().width))
    session.table(sheet)
    newest = max(line.t[-1] for line in lines)
    session.styled(f"the last {span(length_s)}; newest sample {_ago(newest, now_ms)} ago", "dim")


def ask_for(globs: Sequence[str], length_s: float) -> dict[str, Any]:
    """The query, in time relative to the center's clock. A glob also asks for its labels."""
    series = [name for glob in globs for name in (glob, f"{glob}{{*}}")]
    params: dict[str, Any] = {"series": series, "from": f"-{round(length_s * 1000)}ms"}
    if length_s > MANY_SAMPLES_S:
        params["step"] = round(length_s / (4 * WIDTH))
    return params


def choose(names: Iterable[str], globs: Sequence[str]) -> list[str]:
    """The series to show, in the order of the globs; without globs the usual ones.

    A glob may leave the label out: ``fs.percent`` is every file system.
    """
    # Short labels first: `/` before `/var`, `eth2` before `eth10`.
    names = sorted(names, key=lambda name: (base_of(name), len(name), name))
    if globs:
        return list(
            dict.fromkeys(
                name
                for glob in globs
                for name in names
                if fnmatchcase(name, glob) or fnmatchcase(base_of(name), glob)
            )
        )
    usual: list[str] = []
    for glob in USUAL_SERIES:
        usual += [name for name in names if fnmatchcase(name, glob)][:USUAL_OF_A_KIND]
    return (usual or names)[:USUAL]


def base_of(series: str) -> str:
    """``fs.percent`` of ``fs.percent{mount=/var}``."""
    return series.partition("{")[0]


def is_counter(series: str) -> bool:
    return base_of(series).endswith(_TOTAL)


def unit_of(series: str) -> str:
    """The unit by the name's suffix; a counter's is per second."""
    base = base_of(series).removesuffix(_TOTAL)
    unit = next((unit for suffix, unit in _UNITS if base.endswith(suffix)), "")
    if not is_counter(series):
        return unit
    return f"{unit}/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series as it is shown: a gauge as it is, a counter as its rate."""

    series: str
    t: Sequence[int]
    v: Sequence[float | None]

    @property
    def known(self) -> list[float]:
        return [v for v in self.v if v is not None]


def read(series: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """The series with at least one point in time."""
    lines = []
    for name, points in series.items():
        t, v = points["t"], points["v"]
        if t:
            shown = rate(t, v) if is_counter(name) else v
            lines.append(Line(series=name, t=t, v=shown))
    return lines


def fitting(sheet: Sheet, terminal_width: int) -> int:
    """How long the lines may be, so that they are not broken."""
    widest = max(width_of(line) for line in plain(sheet).split("\n"))
    beside = widest - WIDTH + 2 * len(sheet.columns)
    return min(WIDTH, max(NARROW, terminal_width - beside))


def telemetry_sheet(lines: Sequence[Line], width: int = WIDTH) -> Sheet:
    """One axis of time for all: below each other is at the same time."""
    sheet = Sheet(
        columns=[*left("series"), *right("min", "mean", "max", "last"), *whole("course")],
    )
    start_ms = min(line.t[0] for line in lines)
    end_ms = max(line.t[-1] for line in lines)
    for line in lines:
        unit, known = unit_of(line.series), line.known
        numbers = [min(known), fmean(known), max(known), known[-1]] if known else [None] * 4
        grid = on_grid(line.t, line.v, start_ms=start_ms, end_ms=end_ms, width=width)
        cells = [quantity(number, unit) for number in numbers]
        sheet.add(clean(line.series), *cells, sparkline(grid))
    return sheet


def _ago(then_ms: int, now_ms: int) -> str:
    return span(max(0, now_ms - then_ms) / 1000)
