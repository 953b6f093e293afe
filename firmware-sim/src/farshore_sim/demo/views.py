"""What the demonstration shows: the tree, the machine, the books. Pure, but for rich's shapes."""

from typing import Any

from rich.table import Table
from rich.tree import Tree


def tree(nodes: list[dict[str, Any]]) -> Tree:
    """The nodes below their groups."""
    root = Tree("[bold]fleet[/]")
    branches: dict[str, Tree] = {"": root}
    for node in sorted(nodes, key=lambda n: (n["group"], n["name"])):
        path = ""
        for segment in filter(None, node["group"].split("/")):
            parent, path = path, f"{path}/{segment}".strip("/")
            if path not in branches:
                branches[path] = branches[parent].add(f"[bold]{segment}[/]")
        colour = "green" if node["state"] == "online" else "red"
        labels = " ".join(f"{k}={v}" for k, v in sorted(node["labels"].items()))
        branches[path].add(f"[{colour}]●[/] {node['name']} [dim]{labels}[/]")
    return root


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


def books(rows: list[tuple[str, dict[str, dict[str, Any]]]]) -> Table:
    """The books of all nodes' streams, summed per node."""
    table = Table(
        "node", "made", "accepted", "duplicates", "holes", "lost", box=None, pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for node, streams in rows:
        table.add_row(
            node,
            *(
                str(sum(count(book) for book in streams.values()))
                for count in (
                    lambda book: book["head"],
                    lambda book: book["accepted"],
                    lambda book: book["duplicates"],
                    lambda book: len(book["holes"]),
                    lambda book: book["lost_records"],
                )
            ),
        )
    return table


def complete(streams: dict[str, dict[str, Any]]) -> bool:
    """Whether every record that was made is accepted, none missing, none lost."""
    return all(
        book["accepted"] == book["head"] and not book["holes"] and not book["lost_records"]
        for book in streams.values()
    )
