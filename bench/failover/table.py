"""The report for people: seconds by contract and way of dying, and the promises."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from bench import table as common

COLUMNS = (
    "p50_s",
    "p95_s",
    "p99_s",
    "max_s",
    "noticed_p50_s",
    "noticed_p99_s",
    "rest_p50_s",
    "rest_p99_s",
)


def tables(report: dict[str, Any]) -> RenderableType:
    """Of the report's own JSON."""
    table = Table(
        title="Seconds until the work of a dead node runs elsewhere", title_justify="left"
    )
    for heading in ("contract", "way", "instances"):
        table.add_column(heading, justify="right" if heading == "instances" else "left")
    for heading in COLUMNS:
        table.add_column(heading.removesuffix("_s").replace("_", " "), justify="right")
    for row in report["failover"]:
        cells = ["" if row[name] is None else f"{row[name]:.2f}" for name in COLUMNS]
        table.add_row(row["contract"], row["way"], str(row["instances"]), *cells)
    rows = [table] if report["failover"] else []
    return Group(*rows, common.tables(report))
