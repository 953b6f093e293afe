"""The report for people, from the report's own JSON: what the table shows is what the file says."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def tables(report: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = []
    if report["promises"]:
        parts.append(_promises(report["promises"]))
    if report["figures"]:
        parts.append(_figures(report["figures"]))
    parts += [
        Text(f"{failure['measure']} could not be measured: {failure['detail']}", style="bold red")
        for failure in report["failures"]
    ]
    machine, load = report["machine"], report["load"]
    parts.append(
        Text(
            f"{machine['cores']} cores, {machine['cpu']}, {machine['system']}; load average "
            f"{load['before'][0]} before, {load['after'][0]} after",
            style="dim",
        )
    )
    if report["quick"]:
        parts.append(Text("Quick: short windows, so the figures are rough.", style="yellow"))
    return Group(*parts)


def _promises(promises: list[dict[str, Any]]) -> Table:
    table = Table(title="What is promised", title_justify="left", show_lines=True)
    for heading in ("promise", "promised", "measured", "held"):
        table.add_column(heading, justify="left" if heading == "promise" else "right")
    table.add_column("runs: min · median · max")
    for promise in promises:
        held = Text("yes", style="green") if promise["held"] else Text("NO", style="bold red")
        table.add_row(
            Text.assemble((promise["name"], "bold"), "\n", promise["what"]),
            f"{promise['bound']} {promise['promised']:g} {promise['unit']}",
            f"{number(promise['measured'])} {promise['unit']}",
            held,
            "\n".join(f"{side['name']}: {_spread(side)}" for side in promise["sides"]),
        )
    return table


def _figures(figures: list[dict[str, Any]]) -> Table:
    table = Table(title="What else was measured", title_justify="left")
    table.add_column("figure")
    table.add_column("what")
    table.add_column("runs: min · median · max")
    for figure in figures:
        table.add_row(Text(figure["name"], style="bold"), figure["what"], _spread(figure))
    return table


def _spread(figure: dict[str, Any]) -> str:
    runs = figure["runs"]
    if len(runs["values"]) == 1:
        return f"{number(runs['median'])} {figure['unit']}"
    spread = " · ".join(number(runs[key]) for key in ("min", "median", "max"))
    return f"{spread} {figure['unit']}"


def number(value: float) -> str:
    """As many digits as a measurement deserves."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"
