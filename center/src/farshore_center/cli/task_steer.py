"""``farshore task stop``, ``start``, ``restart`` and ``delete``: a person's word on a whole task."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farshore_center.cli.cells import clean
from farshore_center.cli.config_layer import Author, who
from farshore_center.cli.errors import DONE, BadUsageError
from farshore_center.cli.session import Session, Work, command

if TYPE_CHECKING:
    from farshore_center.cli.client import CenterClient

Name = Annotated[str, typer.Argument(metavar="NAME", help="The task's name.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Follow it until that is so.")]
Timeout = Annotated[
    str | None, typer.Option(metavar="DURATION", help="With --wait: give up after so long; exit 1.")
]

WAYS: Mapping[str, tuple[str, str]] = {
    "stop": ("stopped", "End every instance, and keep the task."),
    "start": ("runs", "Run a stopped task again, and a batch that is over once more."),
    "restart": ("runs", "End every instance orderly and begin it anew."),
}
"""The route below the task; what ``--wait`` follows it to; what the command's help says."""


def register(task: typer.Typer) -> None:
    for way, (until, does) in WAYS.items():
        command(task, way)(steering(way, until, does))
    command(task, "delete")(delete)


def steering(way: str, until: str, does: str) -> Work:
    """The command of one way."""

    async def work(
        session: Session,
        name: Name,
        author: Author = None,
        wait: Wait = False,
        timeout: Timeout = None,
    ) -> int:
        from farshore_center.cli.client import segment

        timeout_s = until_s(timeout, wait)
        headers = {"X-Farshore-Author": who(author)}
        async with session.connect() as client:
            found = await client.post(f"/tasks/{segment(name)}" + f"/{way}", headers=headers)
            if wait:
                return await followed(session, client, name, until, timeout_s)
        tell(session, found, f"{clean(name)}: {clean(found['state'])}")
        return DONE

    work.__doc__ = does
    return work


async def delete(session: Session, name: Name, author: Author = None) -> None:
    """End every instance, then forget the task."""
    from farshore_center.cli.client import segment

    headers = {"X-Farshore-Author": who(author)}
    async with session.connect() as client:
        found = await client.change("DELETE", f"/tasks/{segment(name)}", headers=headers)
    tell(session, found, f"{clean(name)} is being ended, and forgotten when it has")


async def followed(
    session: Session, client: "CenterClient", name: str, until: str, timeout_s: float | None
) -> int:
    """The exit code of following a task to ``until`` (``runs`` or ``stopped``), with its end said."""
    from farshore_center.cli.task_watch import follow

    found, code = await follow(session, client, name, until=until, timeout_s=timeout_s)
    tell(session, found, clean(f"{found['name']}: {found['state']}"))
    return code


def until_s(text: str | None, wait: bool) -> float | None:
    """How long ``--timeout`` lets ``--wait`` follow, in seconds."""
    from farshore_center.cli.job_input import seconds

    if text is None:
        return None
    if not wait:
        raise BadUsageError("--timeout is of --wait")
    return seconds("--timeout", text)


def tell(session: Session, document: Mapping[str, Any], text: str) -> None:
    """The document for a program, the text for a person."""
    if session.as_json:
        session.document(document)
    else:
        session.text(text)
