"""``farshore quota …``: how much the tasks of a group may reserve together."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import NOTHING, clean, quantity
from farshore_center.cli.config_layer import Author, who
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import Cell, Sheet, left, right

RESOURCES = ("cpu_cores", "memory_bytes", "disk_bytes", "gpus", "instances")

Group = Annotated[
    str, typer.Argument(metavar="GROUP", help="Its path, for example eu/hamburg; all: the fleet.")
]


def register(app: typer.Typer) -> None:
    inner = typer.Typer(
        no_args_is_help=True, help="How much the tasks of a group may reserve together."
    )
    command(inner, "list")(list_quotas)
    command(inner, "set")(set_quota)
    command(inner, "delete")(delete)
    app.add_typer(inner, name="quota")


async def list_quotas(session: Session) -> None:
    """Every quota, with what is reserved of it."""
    async with session.connect() as client:
        found = await client.get("/quotas")
    if session.as_json:
        session.document(found)
    elif found["items"]:
        session.table(quotas_sheet(found["items"]))
    else:
        session.text("no quotas: farshore quota set --help")


def quotas_sheet(items: Sequence[Mapping[str, Any]]) -> Sheet:
    """``3 of 8``; red where more is reserved than is allowed by now."""
    sheet = Sheet(columns=[*left("group"), *right("cores", "memory", "disk", "GPUs", "instances")])
    for item in items:
        cells = []
        for name in RESOURCES:
            most, taken = item["allowed"].get(name), item["used"].get(name) or 0
            over = most is not None and taken > most
            text = NOTHING if most is None else f"{_shown(name, taken)} of {_shown(name, most)}"
            cells.append(Cell(text, "red" if over else ""))
        sheet.add(clean(item["group"]) or "all", *cells)
    return sheet


def _shown(name: str, amount: float) -> str:
    return quantity(amount, "B") if name.endswith("_bytes") else f"{amount:,g}"


async def set_quota(
    session: Session,
    group: Group,
    cores: Annotated[float | None, typer.Option(min=0, help="Processor cores.")] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="BYTES", help="Memory: 4GiB, 512MiB, or bytes.")
    ] = None,
    disk: Annotated[str | None, typer.Option(metavar="BYTES", help="Disk, as memory.")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, help="GPUs; shares count as such.")] = None,
    instances: Annotated[int | None, typer.Option(min=0, help="Instances of tasks.")] = None,
    author: Author = None,
) -> None:
    """Set all limits of a group's subtree; what is not given is not limited."""
    from farshore_center.cli.client import place

    body = {
        "cpu_cores": cores,
        "memory_bytes": None if memory is None else amount_bytes("--memory", memory),
        "disk_bytes": None if disk is None else amount_bytes("--disk", disk),
        "gpus": gpus,
        "instances": instances,
    }
    given = {name: value for name, value in body.items() if value is not None}
    if not given:
        raise BadUsageError(
            "what is limited? Give one of --cores, --memory, --disk, --gpus, --instances"
        )
    headers = {"X-Farshore-Author": who(author)}
    async with session.connect() as client:
        made = await client.change("PUT", f"/quotas/{place(group)}", given, headers=headers)
    if session.as_json:
        session.document(made)
    else:
        session.table(quotas_sheet([made]))


async def delete(session: Session, group: Group, author: Author = None) -> None:
    """Take a group's own quota away; those of the groups above it stay."""
    from farshore_center.cli.client import place

    headers = {"X-Farshore-Author": who(author)}
    async with session.connect() as client:
        await client.change("DELETE", f"/quotas/{place(group)}", headers=headers)
    if session.as_json:
        session.document({"group": group, "deleted": True})
    else:
        session.text(f"{clean(group)} has no quota of its own")


_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def amount_bytes(option: str, text: str) -> int:
    """``512MiB``, ``1.5GiB`` or ``1048576``. Raises BadUsageError."""
    given = text.strip()
    digits = given.rstrip("BKMGTi")
    unit = _UNITS.get(given[len(digits) :])
    try:
        if unit is None or float(digits) < 0:
            raise ValueError
        return round(float(digits) * unit)
    except (ValueError, OverflowError):
        units = ", ".join(name for name in _UNITS if name)
        raise BadUsageError(
            f"{option} {clean(text)!r}: expected a number with one of {units}"
        ) from None
