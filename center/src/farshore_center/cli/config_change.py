"""What the ways of changing a layer share: it is read, the change is previewed, and what was made is said."""

from typing import Any

from farshore_center.cli import config_layer as layer_of
from farshore_center.cli.cells import clean, counted
from farshore_center.cli.config_view import difference_lines, fault_lines
from farshore_center.cli.errors import RefusedError
from farshore_center.cli.session import Session


async def read_layer(client: Any, layer: str) -> dict[str, Any]:
    """The layer as it is; what is not there is empty. A deleted one has a revision all the same."""
    try:
        found: dict[str, Any] = await client.get(layer_of.layer_path(layer))
    except RefusedError as exc:
        if exc.status != 404:
            raise
        listed = await client.get(f"{layer_of.layer_path(layer)}/revisions", {"limit": 1})
        return {"patch": {}, "rev": listed["items"][0]["rev"] if listed["items"] else 0}
    return found


async def preview_layer(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Every page of a preview as one."""
    found: dict[str, Any] = await client.post("/config/preview", body)
    while found["next"]:
        page = await client.post("/config/preview", body, {"cursor": found["next"]})
        found["items"] += page["items"]
        found["next"] = page["next"]
    return found


def tell_preview(session: Session, found: dict[str, Any]) -> None:
    for line in difference_lines(found["items"]):
        session.styled(*line)
    session.text(f"{found['changed']} of {counted(found['nodes'], 'node')} would change")
    if not found["valid"]:
        session.text("it would be refused:")
    for line in fault_lines(found["faults"]):
        session.styled(*line)


def say_made(session: Session, made: dict[str, Any]) -> None:
    if session.as_json:
        session.document(made)
        return
    name = f"{clean(made['layer'])}@{made['rev']}"
    if made["changed"]:
        session.text(f"{name}: {counted(made['nodes'], 'node')} to be told")
    else:
        session.text(f"{name}: it says so already, nothing changed")
