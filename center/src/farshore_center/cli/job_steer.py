"""``farshore job approve``, ``pause``, ``resume``, ``abort`` and ``rollback``: a person's word on a job."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import clean, counted
from farshore_center.cli.config_layer import Author, who
from farshore_center.cli.errors import DONE
from farshore_center.cli.job_waves import Job
from farshore_center.cli.progress import summary_text
from farshore_center.cli.session import Session, command

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
Message = Annotated[
    str | None, typer.Option("--message", "-m", help="Why; kept in the job's history.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Then follow it, as watch does.")]


def register(job: typer.Typer) -> None:
    for work in (approve, pause, resume, abort, rollback):
        command(job, work.__name__)(work)


async def approve(
    session: Session,
    job_id: JobId,
    wave: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only if it is this wave that waits.")
    ] = None,
    message: Message = None,
    author: Author = None,
    follow: Follow = False,
) -> int:
    """Let the next wave begin."""
    more = {} if wave is None else {"wave": wave}
    return await _steer(session, job_id, "approve", message, author, follow=follow, **more)


async def pause(
    session: Session, job_id: JobId, message: Message = None, author: Author = None
) -> int:
    """Send nothing new; what is under way ends."""
    return await _steer(session, job_id, "pause", message, author)


async def resume(
    session: Session,
    job_id: JobId,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="A new deadline from now, where the old has passed."),
    ] = None,
    message: Message = None,
    author: Author = None,
    follow: Follow = False,
) -> int:
    """Go on with a job that is paused or halted; failures until now are forgiven."""
    from farshore_center.cli.job_input import seconds

    more = {} if deadline is None else {"deadline_s": seconds("--deadline", deadline)}
    return await _steer(session, job_id, "resume", message, author, follow=follow, **more)


async def abort(
    session: Session, job_id: JobId, message: Message = None, author: Author = None
) -> int:
    """End a job; what was done stays, and is told."""
    return await _steer(session, job_id, "abort", message, author)


async def rollback(
    session: Session,
    job_id: JobId,
    message: Message = None,
    author: Author = None,
    follow: Follow = False,
) -> int:
    """Undo what a job has done at each node that it touched."""
    return await _steer(session, job_id, "rollback", message, author, follow=follow)


async def _steer(
    session: Session,
    job_id: str,
    way: str,
    message: str | None,
    author: str | None,
    *,
    follow: bool = False,
    **more: Any,
) -> int:
    from farshore_center.cli.client import segment
    from farshore_center.cli.job_watch import to_the_end

    body = {"author": who(author), **({} if message is None else {"message": message}), **more}
    async with session.connect() as client:
        found = await client.post(f"/jobs/{segment(job_id)}" + f"/{way}", body)
        if follow:
            return await to_the_end(session, client, found)
    if session.as_json:
        session.document(found)
    else:
        session.text(steered(found))
    return DONE


def steered(job: Job) -> str:
    """What became of a job that a person steered."""
    why = f", {clean(job['reason'])}" if job.get("reason") else ""
    text = f"{clean(job['id'])}  {clean(job['name'])}: {clean(job['state'])}{why}"
    kept = job.get("stays")
    if isinstance(kept, Mapping):
        text += "\n" + stays_text(kept)
    return text


def stays_text(kept: Mapping[str, Any]) -> str:
    """What an aborted job leaves as it is, with the nodes."""
    from farshore_center.cli.folding import fold

    if not kept["touched"]:
        return "no node was touched: nothing stays"
    counts = {name: n for name, n in kept["counts"].items() if name not in ("waiting", "left")}
    text = f"stays: {counted(kept['touched'], 'node')} as touched: {summary_text(counts)}"
    if kept.get("under_way"):
        text += f"; {kept['under_way']:,} still under way"
    return f"{text}\n  {clean(fold(kept['nodes']))}"
