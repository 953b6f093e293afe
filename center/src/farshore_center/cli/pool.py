"""``farshore pool``: what the fleet has, what of it is reserved, used and stranded."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import NOTHING, clean, counted, quantity
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import Sheet, left, right

Amounts = Mapping[str, Any]

RESOURCES = ("cpu_milli", "memory_bytes", "disk_bytes", "gpu_milli")
_TITLES = {
    "cpu_milli": "cores",
    "memory_bytes": "memory",
    "disk_bytes": "disk",
    "gpu_milli": "GPUs",
}
_WHAT = ("capacity", "reserved", "free", "closed", "stranded", "used")


def register(app: typer.Typer) -> None:
    command(app, "pool")(pool)


async def pool(
    session: Session,
    group: Annotated[
        str | None, typer.Option(metavar="PATH", help="Only this group and the groups in it.")
    ] = None,
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Each node in place of each group.")
    ] = False,
    silos: Annotated[
        bool, typer.Option("--silos", help="The same work, were each group to do its own.")
    ] = False,
    depth: Annotated[
        int, typer.Option(min=1, max=7, help="With --silos: levels of a path that make a silo.")
    ] = 1,
) -> None:
    """What the fleet has, what of it is reserved, used and stranded; in all and by group."""
    async with session.connect() as client:
        if silos:
            found = await client.get("/pool/silos", {"depth": depth})
        else:
            found = await client.get("/pool", {"nodes": "true" if nodes else None})
            members = await client.items("/nodes", {"group": group}) if nodes and group else None
    if session.as_json:
        session.document(found)
    elif silos:
        show_silos(session, found)
    else:
        show_pool(session, found, group, members)


def show_pool(
    session: Session,
    found: Mapping[str, Any],
    group: str | None,
    members: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """``members``: the nodes of the group, where nodes are shown."""
    groups = {
        path: share
        for path, share in found["groups"].items()
        if group is None or path == group or path.startswith(group + "/")
    }
    if group is not None and not groups:
        session.text(f"no node is in {clean(group)}")
        return
    top = found["total"] if group is None else groups.get(group)
    if top is not None:
        session.table(share_sheet(top))
        session.text("")
    if "nodes" in found:
        names = None if members is None else {each["name"] for each in members}
        shares = {
            name: share for name, share in found["nodes"].items() if names is None or name in names
        }
        session.table(shares_sheet("node", shares))
    else:
        session.table(shares_sheet("group", groups))
    session.styled(tally(found["total"] if top is None else top), "dim")
    for node, doubts in (found.get("doubts") or {}).items():
        for doubt in doubts:
            session.styled(f"{clean(node)} says {clean(doubt)}", "yellow")


def share_sheet(share: Mapping[str, Any]) -> Sheet:
    """One line for each resource."""
    sheet = Sheet(columns=[*left("resource"), *right(*_WHAT)])
    for name in RESOURCES:
        amounts = [(share.get(what) or {}).get(name) for what in _WHAT]
        if any(amounts):
            sheet.add(_TITLES[name], *(shown(name, amount) for amount in amounts))
    return sheet


def shares_sheet(what: str, shares: Mapping[str, Mapping[str, Any]]) -> Sheet:
    """One line for each group or node, with what is reserved of what it has."""
    sheet = Sheet(
        columns=[
            *left(what), *right("nodes", "online", "cores", "memory", "GPUs", "stranded"),
        ]
    )  # fmt: skip
    for path, share in shares.items():
        sheet.add(
            clean(path),
            f"{share['nodes']:,}",
            f"{share['online']:,}",
            *(_of(share, name) for name in ("cpu_milli", "memory_bytes", "gpu_milli")),
            stranded_text(share.get("stranded") or {}),
        )
    return sheet


def _of(share: Mapping[str, Any], name: str) -> str:
    """``3.5 of 8 (44%)``."""
    most = share["capacity"].get(name) or 0
    if not most:
        return NOTHING
    taken = share["reserved"].get(name) or 0
    return f"{shown(name, taken)} of {shown(name, most)} ({taken / most:.0%})"


def stranded_text(stranded: Amounts) -> str:
    said = [
        f"{shown(name, stranded[name])} {_TITLES[name]}" for name in RESOURCES if stranded.get(name)
    ]
    return ", ".join(said) or NOTHING


def shown(name: str, amount: float | None) -> str:
    """Thousandths as cores and GPUs, bytes in powers of 1024."""
    if amount is None:
        return NOTHING
    return quantity(amount, "B") if name.endswith("_bytes") else f"{amount / 1000:,.4g}"


def tally(share: Mapping[str, Any]) -> str:
    drained = f", {share['drained']:,} drained" if share.get("drained") else ""
    told = share.get("told", 0)
    silent = "" if told == share["nodes"] else f"; use as {told:,} of them tell"
    return f"{counted(share['nodes'], 'node')}: {share['online']:,} online{drained}{silent}"


def show_silos(session: Session, found: Mapping[str, Any]) -> None:
    sheet = Sheet(
        columns=[*left("silo"), *right("nodes", "asked", "placed", "nodes more", "impossible")]
    )
    for name, each in found["groups"].items():
        sheet.add(
            clean(name) or "(no group)",
            *(f"{each[key]:,}" for key in ("nodes", "asked", "placed", "nodes_more", "impossible")),
        )
    session.table(sheet)
    session.text("")
    session.table(utilisation_sheet(found))
    session.styled(silo_sentence(found), "dim")


def utilisation_sheet(found: Mapping[str, Any]) -> Sheet:
    sheet = Sheet(columns=[*left("utilisation"), *right(*(_TITLES[name] for name in RESOURCES))])
    for title, key in (("one pool", "together"), ("silos", "apart")):
        shares: Sequence[float | None] = [found[key]["utilisation"].get(name) for name in RESOURCES]
        sheet.add(title, *(NOTHING if each is None else f"{each:.1%}" for each in shares))
    return sheet


def silo_sentence(found: Mapping[str, Any]) -> str:
    """What the silos lack."""
    together, apart = found["together"], found["apart"]
    more = apart["nodes_more"]
    placed = f"one pool: {together['placed']:,} of {counted(together['asked'], 'instance')} placed"
    alone = f"silos: {apart['placed']:,}"
    need = f", and {counted(more, 'node')} more for the rest" if more else ""
    never = f"; {apart['impossible']:,} fit on no node that there is" if apart["impossible"] else ""
    return f"{placed}; {alone}{need}{never}"
