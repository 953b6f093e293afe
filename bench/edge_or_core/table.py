"""The report of edge or core as a person reads it."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from bench.table import tables as promises


def tables(report: dict[str, Any]) -> RenderableType:
    """The jobs, then what was promised."""
    found = Table(title="What each job took, and what was chosen", box=None, pad_edge=False)
    found.add_column("job")
    found.add_column("at")
    for column in ("MB", "edge s", "core s", "expected", "", "chosen", "took s", "slower by"):
        found.add_column(column, justify="right")
    for job in report["jobs"]:
        found.add_row(
            job["kind"],
            job["site"],
            f"{job['bytes'] / 1e6:.2f}",
            f"{mean(job['edge_s']):.2f}",
            f"{mean(job['core_s']):.2f}",
            _seconds(job["expected_edge_s"]),
            _seconds(job["expected_core_s"]),
            job["chosen"],
            f"{job['auto_s']:.2f}",
            "" if job["loss_percent"] <= 0 else f"{job['loss_percent']:.0f} %",
            style=None if job["right"] else "red",
        )
    return Group(found, _burst(report["burst"]), promises(report))


def _burst(burst: dict[str, Any]) -> RenderableType:
    title = (
        f"A burst over {burst['bytes'] / 1e6:.1f} MB at {burst['site']}: when each was done, in s"
    )
    found = Table(title=title, box=None, pad_edge=False)
    for column in ("where", "in all", "done"):
        found.add_column(column)
    for way in ("auto", "edge", "core"):
        ran = burst[way]
        done = (f"{s:.1f} {node}" for s, node in zip(ran["done_s"], ran["nodes"], strict=True))
        found.add_row(way, f"{ran['sum_s']:.1f}", ", ".join(done))
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
