"""The report for people: GPUs allocated beside the paper's figures, and the promises."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from bench import table as common


def tables(report: dict[str, Any]) -> RenderableType:
    """Of the report's own JSON."""
    table = Table(title="GPUs allocated at 130 % asked for, mean of the runs", title_justify="left")
    for heading in ("trace", "policy"):
        table.add_column(heading)
    for heading in (
        "paper %",
        "here %",
        "difference",
        "lowest, highest",
        "decisions/s",
        "by CPU time",
    ):
        table.add_column(heading, justify="right")
    for row in report["placement"]:
        paper, difference = row["paper_pct"], row["difference"]
        table.add_row(
            row["trace"],
            row["policy"],
            "" if paper is None else f"{paper:.2f}",
            f"{row['mean_pct']:.2f}",
            "" if difference is None else f"{difference:+.2f}",
            f"{min(row['runs_pct']):.2f}–{max(row['runs_pct']):.2f}",
            f"{row['decisions_s']:,}",
            f"{row['decisions_cpu_s']:,}",
        )
    return Group(table, common.tables(report))
