"""``farshore-sim``: the simulator's command line."""

import asyncio
import contextlib
import logging
import resource
import signal
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from farshore_edge.errors import EdgeError, SettingsError

from farshore_sim.errors import SimError

T = TypeVar("T")

INTERRUPTED = 130
"""Exit code of a demonstration that was stopped before its story was told."""

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def sim() -> None:
    """Simulated nodes for Farshore, and the demonstration."""


@app.command()
def run(
    nodes: Annotated[int, typer.Option(min=1, max=20_000, help="how many nodes")] = 12,
    center: Annotated[str, typer.Option(help="mqtt://HOST:PORT")] = "mqtt://127.0.0.1:1883",
    seed: Annotated[int, typer.Option(help="the hardware behaves by it")] = 1,
    prefix: Annotated[str, typer.Option(help="names are PREFIX-1, PREFIX-2 …")] = "sim",
    data: Annotated[
        Path | None, typer.Option(help="keep outboxes there; without it they are in memory")
    ] = None,
    sample_interval_s: Annotated[float, typer.Option(min=0.1)] = 5.0,
    batch_s: Annotated[float, typer.Option(min=0.1)] = 10.0,
    heartbeat_s: Annotated[float, typer.Option(min=1)] = 30.0,
    starts_per_s: Annotated[float, typer.Option(min=1, help="nodes that start in a second")] = 200,
) -> None:
    """Runs simulated nodes, real agents over real MQTT, until SIGTERM or Ctrl-C."""
    from farshore_sim.fleet import FleetSettings
    from farshore_sim.fleet.show import serve

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    settings = FleetSettings(
        nodes=nodes,
        center=center,
        seed=seed,
        prefix=prefix,
        data=data,
        sample_interval_s=sample_interval_s,
        batch_s=batch_s,
        heartbeat_s=heartbeat_s,
        starts_per_s=starts_per_s,
    )
    with _errors():
        _raise_open_files()
        asyncio.run(_until_asked(serve(settings)))


@app.command()
def demo(
    exit_: Annotated[
        bool, typer.Option("--exit", help="end by itself; exit code 0 only if all was true")
    ] = False,
    nodes: Annotated[int, typer.Option(min=1, max=500, help="simulated nodes")] = 12,
    cut_s: Annotated[float, typer.Option(min=2, help="how long the link is cut")] = 20.0,
    no_work: Annotated[
        bool, typer.Option("--no-work", help="without the chapters of tasks, and their three nodes")
    ] = False,
) -> None:
    """A fleet on this machine, narrated: center, this machine as a node, simulated nodes beside it."""
    from farshore_sim.demo import DemoSettings, play

    with _errors():
        _raise_open_files()
        settings = DemoSettings(nodes=nodes, cut_s=cut_s, work=not no_work, stay=not exit_)
        true = asyncio.run(_until_asked(play(settings)))
    if true is None:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if true else 1)


@app.command()
def world(
    seed: Annotated[int, typer.Option(help="what happens is drawn from it")] = 1,
    nodes: Annotated[int, typer.Option(min=1, max=200, help="how many nodes")] = 5,
    hours: Annotated[float, typer.Option(min=0.01, help="virtual hours of faults")] = 1.0,
    tasks: Annotated[
        bool | None, typer.Option(help="whether tasks run in it; default: as the seed has it")
    ] = None,
    schedule: Annotated[
        Path | None, typer.Option(help="a plan from a file, in place of one from the seed")
    ] = None,
    trace: Annotated[Path | None, typer.Option(help="write every event there")] = None,
    shrink: Annotated[bool, typer.Option(help="make a failing plan as small as possible")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """A deterministic world: agents and center on virtual time; exit code 0 if all invariants held."""
    try:
        from farshore_sim.world.show import show
    except ModuleNotFoundError as exc:
        sys.stderr.write(f"farshore-sim: {exc}; install farshore-firmware-sim[world]\n")
        raise typer.Exit(2) from exc
    with _errors():
        held = show(
            seed=seed,
            nodes=nodes,
            hours=hours,
            tasks=tasks,
            schedule=schedule,
            trace=trace,
            shrinks=shrink,
            as_json=as_json,
        )
    raise typer.Exit(0 if held else 1)


@app.command()
def proxy(
    to: Annotated[str, typer.Option(help="HOST:PORT, where the real server is")],
    listen: Annotated[str, typer.Option(help="HOST:PORT, where the bad link begins")],
    throttle: Annotated[float | None, typer.Option(help="bytes per second")] = None,
    delay: Annotated[float | None, typer.Option(help="seconds")] = None,
    jitter: Annotated[float, typer.Option(help="seconds more or less than the delay")] = 0.0,
    tear: Annotated[int | None, typer.Option(help="segments of at most so many bytes")] = None,
    half_open: Annotated[
        str | None, typer.Option(help="up, down or both: bytes go nowhere")
    ] = None,
    seed: Annotated[int, typer.Option(help="of jitter and tearing")] = 1,
) -> None:
    """A bad link in front of a TCP server; its faults are changed by lines on standard input."""
    from farshore_sim.faults.link_control import serve as serve_link

    lines = []
    if throttle is not None:
        lines.append(f"throttle {throttle}")
    if delay is not None or jitter:
        lines.append(f"delay {delay or 0.0} {jitter}")
    if tear is not None:
        lines.append(f"tear {tear}")
    if half_open is not None:
        lines.append(f"half-open {half_open}")
    with _errors():
        asyncio.run(_until_asked(serve_link(listen, to, lines=lines, seed=seed)))


def _raise_open_files() -> None:
    """Every node is a socket, and the usual soft limit is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except SettingsError as exc:
        sys.stderr.write(f"farshore-sim: {exc}\n")
        raise typer.Exit(2) from exc
    except (SimError, EdgeError) as exc:
        sys.stderr.write(f"farshore-sim: {exc}\n")
        raise typer.Exit(1) from exc


async def _until_asked(work: Coroutine[Any, Any, T]) -> T | None:
    """Runs ``work``; SIGTERM, Ctrl-C or a closed terminal cancel it, and it puts everything away.

    Only the first signal counts: a second one would leave behind what is being put away.
    """
    task = asyncio.create_task(work)
    asked = False

    def ask() -> None:
        nonlocal asked
        if not asked:
            asked = True
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ask)
    try:
        return await task
    except asyncio.CancelledError:
        return None


def main() -> None:
    app()
