"""The report for people: seconds by contract and way of dying, and the promises."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from bench import table as common

COLUMNS = ("p50_s", "p95_s", "p99_s", "max_s")


def tables(report: dict[str, Any]) -> RenderableType:
    """Of the report's own JSON."""
    table = Table(
        title="Seconds until the work of a dead node runs elsewhere", title_justify="left"
    )
    for heading in ("contract", "way", "instances"):
        table.add_column(heading, justify="right" if heading == "instances" else "left")
    for heading in COLUMNS:
        table.add_column(heading.removesuffix("_s"), justify="right")
    for heading in ("noticed", "then"):
        table.add_column(f"{heading}\np50 · p99", justify="right")
    for row in report["failover"]:
        cells = [f"{row[name]:.2f}" for name in COLUMNS]
        parts = (_both(row, "noticed"), _both(row, "rest"))
        table.add_row(row["contract"], row["way"], str(row["instances"]), *cells, *parts)
    rows: list[RenderableType] = [table] if report["failover"] else []
    return Group(*rows, common.tables(report))


def _both(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_p50_s"], row[f"{name}_p99_s"]
    return "" if low is None else f"{low:.2f} · {high:.2f}"
