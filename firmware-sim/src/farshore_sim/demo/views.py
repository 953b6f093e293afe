"""What the demonstration shows: the tree, the machine, the books. Pure, but for rich's shapes."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

SHOWN = 12
"""Rows of a table, nodes of a group: what a person reads; the rest is counted."""


def tree(nodes: list[dict[str, Any]]) -> Tree:
    """The nodes below their groups."""
    root = Tree(Text("fleet", "bold"))
    branches: dict[str, Tree] = {"": root}
    counts: dict[str, int] = {}
    for node in sorted(nodes, key=lambda n: (n["group"], n["name"])):
        path = ""
        for segment in filter(None, node["group"].split("/")):
            parent, path = path, f"{path}/{segment}".strip("/")
            if path not in branches:
                branches[path] = branches[parent].add(Text(segment, "bold"))
        counts[path] = counts.get(path, 0) + 1
        if counts[path] <= SHOWN:
            branches[path].add(_leaf(node))
    for path, count in counts.items():
        if count > SHOWN:
            branches[path].add(Text(f"… and {count - SHOWN} more", "dim"))
    return root


def _leaf(node: dict[str, Any]) -> Text:
    labels = " ".join(f"{k}={v}" for k, v in sorted(node["labels"].items()))
    colour = "green" if node["state"] == "online" else "red"
    return Text.assemble(("●", colour), f" {node['name']} ", (labels, "dim"))


def machine(node: dict[str, Any]) -> list[str]:
    """This machine's facts, a line each."""
    facts = node["facts"]
    cpu, mem = facts.get("cpu", {}), facts.get("mem", {})
    disks = ", ".join(
        f"{disk.get('device')} {disk.get('size_bytes', 0) / 1e9:.0f} GB"
        for disk in facts.get("disks", [])[:4]
    )
    lines = [
        ("OS", facts.get("os", {}).get("pretty_name") or facts.get("os", {}).get("id")),
        ("kernel", facts.get("kernel", {}).get("release")),
        ("CPU", f"{cpu.get('model', '?')}, {cpu.get('cores_logical', '?')} cores"),
        ("memory", f"{mem.get('total_bytes', 0) / 2**30:.1f} GiB"),
        ("disks", disks or None),
        ("GPUs", ", ".join(str(gpu.get("name")) for gpu in facts.get("gpus", [])) or "none"),
    ]
    return [f"{name:<8} {value}" for name, value in lines if value]


def why(explained: Mapping[str, Any]) -> Table:
    """An instance's candidates: the score of each, or what refused it."""
    table = Table("node", "score", "why", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    not_asked = [each for each in explained["candidates"] if each["filter"] == "selector"]
    asked = [each for each in explained["candidates"] if each["filter"] != "selector"]
    for each in asked[:SHOWN]:
        chosen = each["node"] == explained["node"]
        score = "-" if each["score"] is None else f"{each['score']:.3f}"
        name = Text(each["node"], "bold green" if chosen else "")
        table.add_row(name, score, Text(_because(each)))
    if not_asked:
        table.add_row(f"… {len(not_asked)} more", "-", "refused: the selector does not take them")
    return table


def _because(candidate: Mapping[str, Any]) -> str:
    """What refused it; else how long it would take there and what would have to be moved."""
    if candidate["filter"] is not None:
        return f"refused: {candidate['why']}"
    values = {part["name"]: part for part in candidate.get("estimate") or ()}
    if "completion" not in values:
        return str(candidate["why"])
    moved, done = values["moved"], values["completion"]
    size = moved["value"]
    told = f"{size / 1e9:g} GB" if size >= 1e9 else f"{size / 1e6:g} MB"
    if done["value"] is None:
        return f"{told} to move, nobody knows for how long it runs"
    return f"{told} to move, done in {done['value']:,.1f} s ({done['origin']})"


_COUNTS: Mapping[str, Callable[[Mapping[str, Any]], int]] = {
    "made": lambda book: book["head"],
    "accepted": lambda book: book["accepted"],
    "duplicates": lambda book: book["duplicates"],
    "holes": lambda book: len(book["holes"]),
    "lost": lambda book: book["lost_records"],
}


def books(rows: Mapping[str, dict[str, dict[str, Any]]]) -> Table:
    """The books of all nodes' streams, summed per node; many nodes in one row at the end."""
    table = Table("node", *_COUNTS, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    sums = [
        (node, [sum(count(book) for book in streams.values()) for count in _COUNTS.values()])
        for node, streams in rows.items()
    ]
    for node, counts in sums[:SHOWN]:
        table.add_row(Text(node), *map(str, counts))
    rest = [counts for _, counts in sums[SHOWN:]]
    if rest:
        table.add_row(
            f"… {len(rest)} more", *(str(sum(column)) for column in zip(*rest, strict=True))
        )
    return table


def holds_all(streams: Mapping[str, dict[str, Any]], made: Mapping[str, int]) -> bool:
    """Whether the center has accepted what a node has made by its own count: none missing, none lost.

    ``made``: by stream. A node that made nothing proves nothing.
    """
    return any(made.values()) and all(
        count == 0
        or (
            stream in streams
            and streams[stream]["accepted"] >= count
            and not streams[stream]["holes"]
            and not streams[stream]["lost_records"]
        )
        for stream, count in made.items()
    )
