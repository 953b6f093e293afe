"""``farshore inventory``: the fleet as Ansible's dynamic inventory; it decides nothing itself.

``farshore-inventory`` is the same as a program of its own, because Ansible gives an inventory script
``--list`` and nothing else.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import clean
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.session import Session, command

PLUGINS = Path(__file__).parents[1] / "ansible"


def register(app: typer.Typer) -> None:
    command(app, "inventory")(inventory)


async def inventory(
    session: Session,
    every: Annotated[
        bool, typer.Option("--list", help="All groups, and the variables of every host.")
    ] = False,
    host: Annotated[
        str | None, typer.Option("--host", metavar="NAME", help="The variables of one host.")
    ] = None,
    selector: Annotated[
        str | None, typer.Option(metavar="SELECTOR", help="Only nodes that it selects.")
    ] = None,
    plugin_path: Annotated[
        bool,
        typer.Option("--plugin-path", help="The folder of the connection plugin, and no more."),
    ] = False,
) -> None:
    """The fleet as Ansible's dynamic inventory."""
    if [every, host is not None, plugin_path].count(True) != 1:
        raise BadUsageError("give one of --list, --host NAME and --plugin-path")
    if plugin_path:
        session.text(str(PLUGINS / "connection"))
        return
    if host is not None:
        if selector is not None:
            raise BadUsageError("--selector belongs to --list")
        session.document(await _of_host(session, host))
        return
    session.document(await _of_all(session, selector))


async def _of_host(session: Session, host: str) -> dict[str, Any]:
    from farshore_center.ansible.fleet import variables
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        return variables(await client.get(f"/nodes/{segment(host)}"))


async def _of_all(session: Session, selector: str | None) -> dict[str, Any]:
    from farshore_center.ansible import fleet

    async with session.connect() as client:
        nodes = await client.items("/nodes", {"facts": "true", "selector": selector})
        everyone = nodes if selector is None else await client.items("/nodes")
        groups = await client.items("/groups")
    found = fleet.Fleet(
        nodes=nodes,
        everyone=everyone,
        paths=[group["path"] for group in groups],
        whole=selector is None,
    )
    for name, who in found.clashes().items():
        session.note(f"farshore: more than one group would be {name}: {clean('; '.join(who))}")
    return fleet.inventory(found, session.url)
