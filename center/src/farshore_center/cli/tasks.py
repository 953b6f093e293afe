"""``farshore task …``: give the fleet work, see where it runs and why."""

from typing import Annotated

import typer

from farshore_center.cli import task_steer
from farshore_center.cli.cells import NOTHING, clean
from farshore_center.cli.config_layer import Author, File, read_file, who
from farshore_center.cli.errors import DONE, BadUsageError
from farshore_center.cli.session import Session, command
from farshore_center.cli.task_steer import Name, Timeout, Wait, followed, tell, until_s
from farshore_center.cli.task_view import (
    Task,
    history_sheet,
    instances_sheet,
    task_sheet,
    tasks_sheet,
)

Number = Annotated[
    int | None, typer.Option("--instance", "-i", min=0, metavar="N", help="Only this instance.")
]


def register(app: typer.Typer) -> None:
    inner = typer.Typer(
        no_args_is_help=True, help="Give the fleet work; see where it runs and why; steer it."
    )
    for name, work in (
        ("put", put),
        ("list", list_tasks),
        ("get", get),
        ("explain", explain),
        ("history", history),
        ("logs", logs),
    ):
        command(inner, name)(work)
    task_steer.register(inner)
    command(inner, "example")(example)
    command(inner, "schema")(schema)
    app.add_typer(inner, name="task")


async def put(
    session: Session,
    file: File,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="In place of the name in the file.")
    ] = None,
    if_rev: Annotated[
        int | None,
        typer.Option(min=0, metavar="REV", help="Only if the task is at this revision; 0: new."),
    ] = None,
    author: Author = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> int:
    """Make or change a task from a file: farshore task put camera.yaml --wait"""
    from farshore_center.cli.client import segment
    from farshore_center.cli.task_input import written

    timeout_s = until_s(timeout, wait)
    name, body = written(read_file(file), file, name)
    headers = {"X-Farshore-Author": who(author)}
    if if_rev is not None:
        headers["If-Match"] = f'"{if_rev}"'
    async with session.connect() as client:
        made = await client.change("PUT", f"/tasks/{segment(name)}", body, headers=headers)
        for note in made.get("notes") or ():
            session.note(clean(f"note: {note['field']}: {note['detail']}"))
        if wait:
            return await followed(session, client, name, "runs", timeout_s)
    same = "" if made.get("changed", True) else ", as it was"
    tell(session, made, f"{clean(name)}: revision {made['revision']}{same}")
    if not session.as_json:
        session.note(f"see it: farshore{session.at} task get {clean(name)}")
    return DONE


async def list_tasks(
    session: Session,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many.")] = None,
) -> None:
    """Every task, by name."""
    async with session.connect() as client:
        found = await client.items("/tasks", at_most=limit)
        now_ms = client.now_ms()
    if session.as_json:
        session.document({"items": found, "next": None})
    elif found:
        session.table(tasks_sheet(found, now_ms))
    else:
        session.text("no tasks yet: farshore task example")


async def get(
    session: Session,
    name: Name,
    spec: Annotated[
        bool, typer.Option("--spec", help="Only what was put, as a file for put.")
    ] = False,
) -> None:
    """One task: what it is, and where each of its instances is."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.get(f"/tasks/{segment(name)}")
        now_ms = client.now_ms()
    if spec:
        session.document({"name": found["name"], **found["spec"]})
    elif session.as_json:
        session.document(found)
    else:
        show(session, found, now_ms)


def show(session: Session, task: Task, now_ms: int) -> None:
    session.table(task_sheet(task, now_ms))
    session.text("")
    instances = task.get("instances") or ()
    if instances:
        session.table(instances_sheet(instances, now_ms))
    else:
        session.text("no instances")


async def explain(session: Session, name: Name, instance: Number = None) -> None:
    """Why each instance is where it is, or why it is nowhere: filters, candidates, scores."""
    from farshore_center.cli.client import segment
    from farshore_center.cli.screen import plain as plain_lines
    from farshore_center.cli.screen import rich_text
    from farshore_center.cli.task_explain import FEW, candidates_sheet, decision_lines

    async with session.connect() as client:
        found = await client.get(f"/tasks/{segment(name)}/explain", {"instance": instance})
        now_ms = client.now_ms()
    if session.as_json:
        session.document(found)
        return
    for each in found["instances"]:
        lines = decision_lines(name, each, now_ms)
        if session.terminal:
            session.console().print(rich_text(lines), soft_wrap=True)
        else:
            session.text(plain_lines(lines))
        candidates = each.get("candidates") or ()
        if candidates:
            session.table(candidates_sheet(candidates))
        if len(candidates) > FEW:
            session.styled(f"and {len(candidates) - FEW:,} more; --json has them all", "dim")
    if not found["instances"]:
        session.text("nothing was decided yet")


async def history(
    session: Session,
    name: Name,
    instance: Number = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 200,
) -> None:
    """What happened to a task and its instances, oldest first: when, what, where, why, by whom."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.get(
            f"/tasks/{segment(name)}/history", {"instance": instance, "limit": limit}
        )
    if session.as_json:
        session.document(found)
    else:
        session.table(history_sheet(found["items"]))


async def logs(
    session: Session,
    name: Name,
    instance: Number = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Live, until Ctrl-C; takes it up by itself.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=10_000, help="The last so many.")
    ] = 100,
    grep: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only lines that hold it.")
    ] = None,
) -> int:
    """What an instance wrote, from the node that it runs on."""
    from farshore_center.cli.client import segment
    from farshore_center.cli.logs import FOLLOW_MOST, last_lines, live_lines

    async with session.connect() as client:
        found = await client.get(f"/tasks/{segment(name)}")
        number, node = place_of(found, instance)
        args = {"unit": f"{name}/{number}", "lines": lines, "grep": grep}
        some = {key: value for key, value in args.items() if value is not None}
        if follow:
            await live_lines(session, client, node, {**some, "lines": min(lines, FOLLOW_MOST)})
            return DONE
        return await last_lines(session, client, node, some)


def place_of(task: Task, instance: int | None) -> tuple[int, str]:
    """Which instance is meant, and the node that has its log."""
    places = {each["instance"]: each.get("node") for each in task.get("instances") or ()}
    if instance is None and len(places) > 1:
        known = ", ".join(f"{n} on {node or NOTHING}" for n, node in sorted(places.items())[:8])
        raise BadUsageError(f"which instance? Give --instance N: {clean(known)}")
    number = next(iter(places), 0) if instance is None else instance
    node = places.get(number)
    if node is None:
        raise BadUsageError(f"{clean(task['name'])}: instance {number} is on no node")
    return number, str(node)


async def example(
    session: Session,
    kind: Annotated[
        str, typer.Argument(metavar="[KIND]", help="service, batch, cron, fenced, gpu, …")
    ] = "service",
) -> None:
    """A specification to begin with, as YAML: farshore task example batch > report.yaml"""
    from farshore_center.cli.task_example import EXAMPLES

    if kind not in EXAMPLES:
        raise BadUsageError(f"there is no example {clean(kind)!r}: expected {', '.join(EXAMPLES)}")
    if session.as_json:
        from farshore_center.cli.config_input import read_document

        session.document(read_document(EXAMPLES[kind].encode(), "example.yaml"))
        return
    session.text(EXAMPLES[kind].rstrip("\n"))
    session.note(f"others: {', '.join(each for each in EXAMPLES if each != kind)}")


async def schema(session: Session) -> None:
    """The JSON Schema of a specification, for editors and programs."""
    async with session.connect() as client:
        session.document(await client.get("/tasks/schema"))
