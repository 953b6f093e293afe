"""``farshore job …``: roll a command or a configuration out in waves, see it, steer it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farshore_center.cli import job_steer
from farshore_center.cli.cells import NOTHING, age, clean, counted
from farshore_center.cli.config_layer import read_file, who
from farshore_center.cli.errors import DONE, FAILED
from farshore_center.cli.job_options import JobOptions, described
from farshore_center.cli.job_steer import Follow, JobId
from farshore_center.cli.job_waves import BAD, Job
from farshore_center.cli.progress import summary_text
from farshore_center.cli.session import Session, SplitAtDashes, command
from farshore_center.cli.tables import Cell, Sheet, left, right, state, whole

if TYPE_CHECKING:
    from farshore_center.cli.client import CenterClient


def register(app: typer.Typer) -> None:
    inner = typer.Typer(
        no_args_is_help=True, help="Roll a command or a configuration out in waves."
    )
    for name, making in (("create", create), ("run", run), ("preview", preview)):
        described(making)
        command(inner, name, cls=SplitAtDashes)(making)
    for name, work in (
        ("list", list_jobs),
        ("show", show),
        ("watch", watch),
        ("nodes", nodes),
        ("history", history),
    ):
        command(inner, name)(work)
    job_steer.register(inner)
    app.add_typer(inner, name="job")


# Made


async def create(session: Session, **given: Any) -> int:
    """Make a job: farshore job create --all exec --waves 1,10% --approval -- systemctl restart app"""
    async with session.connect() as client:
        made = await _made(session, client, given)
    return _created(session, made)


async def run(session: Session, **given: Any) -> int:
    """Make a job and follow it to its end; Ctrl-C detaches, the job goes on."""
    from farshore_center.cli.job_watch import to_the_end

    async with session.connect() as client:
        made = await _made(session, client, given)
        if not made["start"]["cron"]:
            return await to_the_end(session, client, made)
    # It never ends by itself: each of its runs is a job of its own.
    return _created(session, made)


def _created(session: Session, made: Job) -> int:
    job_id = clean(made["id"])
    _tell(session, made, f"{job_id}  {clean(made['name'])}: {clean(made['state'])}")
    if made["start"]["cron"]:
        session.note(f"see its runs: farshore{session.at} job list --parent {job_id}")
    else:
        session.note(f"follow it: farshore{session.at} job watch {job_id}")
    return DONE


async def _made(session: Session, client: "CenterClient", given: Mapping[str, Any]) -> Job:
    body = _body(session, given, client.now_ms())
    try:
        return await client.post("/jobs", body)
    except asyncio.CancelledError:
        session.note(
            "\nended before the center answered; see whether it took it: "
            f"farshore{session.at} job list"
        )
        raise


async def preview(session: Session, **given: Any) -> int:
    """What a job would do: its waves, its first nodes, and what can't be met; nothing happens."""
    async with session.connect() as client:
        found = await client.post("/jobs/preview", _body(session, given, client.now_ms()))
    if session.as_json:
        session.document(found)
    else:
        _show_preview(session, found)
    return FAILED if found["faults"] else DONE


def _body(session: Session, given: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    from farshore_center.cli.job_input import job_body

    options = JobOptions(**given)
    return job_body(
        options,
        None if options.file is None else read_file(options.file),
        None if options.config is None else read_file(options.config),
        session.after_dashes,
        author=who(options.author),
        now_ms=now_ms,
    )


def _show_preview(session: Session, found: Mapping[str, Any]) -> None:
    from farshore_center.cli.folding import fold

    sheet = Sheet(columns=[*right("wave", "nodes"), *left("for example")])
    for wave in found["waves"]:
        names = clean(fold(wave["names"]))
        more = wave["nodes"] - len(wave["names"])
        sheet.add(
            str(wave["number"]),
            f"{wave['nodes']:,}",
            f"{names} and {more:,} more" if more > 0 else names or NOTHING,
        )
    if found["waves"]:
        session.table(sheet)
    for fault in found["faults"]:
        expected = f" (expected {fault['expected']})" if fault.get("expected") else ""
        session.styled(clean(f"{fault['field']}: {fault['detail']}{expected}"), "red")
    opens = found.get("opens_at")
    first = f"the first could be told at {clean(opens)}" if opens else "none could ever be told"
    session.styled(f"{counted(found['nodes'], 'node')}; {first}", "dim")


# Seen


async def list_jobs(
    session: Session,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE[,STATE...]", help="Only jobs in one of these states."),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="Only the runs of this job with a cron rule.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 20,
) -> None:
    """The jobs, newest first."""
    async with session.connect() as client:
        found = await client.items("/jobs", {"state": state, "parent": parent}, at_most=limit)
        now_ms = client.now_ms()
    if session.as_json:
        session.document({"items": found, "next": None})
    elif found:
        session.table(jobs_sheet(found, now_ms))
    else:
        session.text("no jobs" if state or parent else "no jobs yet: farshore job create --help")


def jobs_sheet(items: Sequence[Job], now_ms: int) -> Sheet:
    sheet = Sheet(
        columns=[
            *left("id"), *whole("state"), *right("ago", "wave", "touched", "nodes", "failed"),
            *left("name", "waits for"),
        ]
    )  # fmt: skip
    for item in items:
        failed = sum(item["counts"].get(name, 0) for name in BAD)
        sheet.add(
            clean(item["id"]),
            state(clean(item["state"])),
            age(item["created_at"], now_ms),
            str(item["wave"]),
            f"{item['touched']:,}",
            f"{item['total']:,}",
            Cell(f"{failed:,}", "red" if failed else ""),
            clean(item["name"]),
            clean(item.get("waits_for") or item.get("reason") or NOTHING),
        )
    return sheet


async def show(session: Session, job_id: JobId, follow: Follow = False) -> int:
    """One job: its waves, what failed and why, what it waits for, and what comes next."""
    from farshore_center.cli.client import segment
    from farshore_center.cli.job_watch import failures_of, show_job, to_the_end

    async with session.connect() as client:
        found = await client.get(f"/jobs/{segment(job_id)}")
        if follow:
            return await to_the_end(session, client, found)
        failures = [] if session.as_json else await failures_of(client, found)
        now_ms = client.now_ms()
    if session.as_json:
        session.document(found)
    else:
        show_job(session, found, now_ms, failures)
    return DONE


async def watch(session: Session, job_id: JobId) -> int:
    """Follow a job until it is over or a rule stops it; Ctrl-C detaches, the job goes on."""
    return await show(session, job_id, follow=True)


async def nodes(
    session: Session,
    job_id: JobId,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE[,STATE...]", help="Only nodes in one of these states."),
    ] = None,
    wave: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only of this wave.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many.")] = None,
) -> None:
    """A job's nodes: the wave, the state and why, and the command that each was given."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.items(
            f"/jobs/{segment(job_id)}/nodes", {"state": state, "wave": wave}, at_most=limit
        )
        now_ms = client.now_ms()
    if session.as_json:
        session.document({"items": found, "next": None})
        return
    if found:
        session.table(nodes_sheet(found, now_ms))
    counts: dict[str, int] = {}
    for item in found:
        counts[item["state"]] = counts.get(item["state"], 0) + 1
    session.styled(f"{counted(len(found), 'node')}: {summary_text(counts)}", "dim")


def nodes_sheet(items: Sequence[Mapping[str, Any]], now_ms: int) -> Sheet:
    sheet = Sheet(
        columns=[
            *left("node"), *right("wave"), *whole("state"), *right("tries", "ago"),
            *left("why", "given"),
        ]
    )  # fmt: skip
    for item in items:
        forgiven = " (forgiven)" if item.get("forgiven") else ""
        revision = f"revision {item['config_rev']}" if item.get("config_rev") is not None else ""
        sheet.add(
            clean(item["node"]),
            str(item["wave"] or NOTHING),
            state(clean(item["state"])),
            str(item["attempts"]),
            age(item.get("updated_at"), now_ms),
            clean(item.get("reason") or NOTHING) + forgiven,
            clean(item.get("command") or revision or NOTHING),
        )
    return sheet


async def history(
    session: Session,
    job_id: JobId,
    node: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this node.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many.")] = None,
) -> None:
    """Every transition of a job and its nodes, oldest first: when, what, why, by whom."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.items(
            f"/jobs/{segment(job_id)}/history", {"node": node}, at_most=limit
        )
    if session.as_json:
        session.document({"items": found, "next": None})
        return
    sheet = Sheet(columns=[*whole("at"), *left("of"), *whole("state"), *left("by", "why")])
    for item in found:
        of_wave = f"wave {item['wave']}" if item.get("wave") else "the job"
        sheet.add(
            clean(item["at"]),
            clean(item["node"]) if item.get("node") else of_wave,
            state_cell(item),
            clean(item["by"]),
            clean(item.get("reason") or NOTHING),
        )
    session.table(sheet)


def state_cell(item: Mapping[str, Any]) -> Cell:
    return state(clean(item["state"]))


def _tell(session: Session, job: Job, text: str) -> None:
    if session.as_json:
        session.document(job)
    else:
        session.text(text)
