"""``farshore-center``: starts the center. Logging is set up here and nowhere else."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farshore_center.cli.broker_config import app as broker_config
from farshore_center.errors import CenterError
from farshore_center.settings import Address, ListenError, Settings, read_settings
from farshore_center.tasks.choices import TaskChoices

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(broker_config, name="broker-config")


@app.callback()
def center() -> None:
    """Farshore's center."""


@app.command()
def run(
    data: Annotated[Path, typer.Option(envvar="FARSHORE_DATA", help="folder of its data")] = Path(
        "farshore-data/center"
    ),
    http: Annotated[str, typer.Option(help="HOST:PORT of API and web")] = "127.0.0.1:8080",
    mqtt: Annotated[
        str,
        typer.Option(
            help="HOST:PORT starts the embedded broker there, mqtt://HOST:PORT uses another one"
        ),
    ] = "127.0.0.1:1883",
    database: Annotated[
        str | None, typer.Option(help="database URL; default: SQLite in the data folder")
    ] = None,
    dev: Annotated[bool, typer.Option("--dev", help="loopback only, no login, no TLS")] = False,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR")] = "INFO",
    restored: Annotated[
        bool,
        typer.Option("--restored", help="the database is from a backup; give it at one start"),
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(envvar="FARSHORE_RATE", help="records a second that a node should not exceed"),
    ] = None,
    hold_s: Annotated[
        float | None,
        typer.Option(envvar="FARSHORE_HOLD_S", help="seconds to spread nodes' backlogs over"),
    ] = None,
    preempt: Annotated[
        bool,
        typer.Option(
            envvar="FARSHORE_PREEMPT", help="tasks of higher priority may push out others"
        ),
    ] = True,
    preempt_distance: Annotated[
        int,
        typer.Option(
            envvar="FARSHORE_PREEMPT_DISTANCE", help="by so much higher must the priority be"
        ),
    ] = 10,
    rebalance: Annotated[
        bool,
        typer.Option(
            envvar="FARSHORE_REBALANCE", help="move running services to clearly better nodes"
        ),
    ] = False,
    rebalance_every_s: Annotated[
        float, typer.Option(envvar="FARSHORE_REBALANCE_EVERY_S", help="seconds between two looks")
    ] = 300.0,
    rebalance_gain: Annotated[
        float,
        typer.Option(
            envvar="FARSHORE_REBALANCE_GAIN", help="how much higher the score must be, up to 1"
        ),
    ] = 0.1,
    rebalance_rest_s: Annotated[
        float,
        typer.Option(
            envvar="FARSHORE_REBALANCE_REST_S", help="seconds that an instance stays where it came"
        ),
    ] = 600.0,
    rebalance_moves: Annotated[
        int, typer.Option(envvar="FARSHORE_REBALANCE_MOVES", help="instances that move at once")
    ] = 5,
    answer_s: Annotated[
        float,
        typer.Option(
            envvar="FARSHORE_ANSWER_S", help="seconds that an online node has to answer a grant"
        ),
    ] = 90.0,
) -> None:
    """Runs the center until SIGTERM or Ctrl-C."""
    try:
        settings = read_settings(
            data=data,
            http=http,
            mqtt=mqtt,
            database=database,
            dev=dev,
            log_level=log_level,
            restored=restored,
            rate=rate,
            hold_s=hold_s,
            tasks=TaskChoices(
                preempt=preempt,
                preempt_distance=preempt_distance,
                rebalance=rebalance,
                rebalance_every_s=rebalance_every_s,
                rebalance_gain=rebalance_gain,
                rebalance_rest_s=rebalance_rest_s,
                rebalance_moves=rebalance_moves,
                answer_s=answer_s,
            ),
        )
    except CenterError as exc:
        sys.stderr.write(f"farshore-center: {exc}\n")
        raise typer.Exit(2) from exc
    try:
        code = asyncio.run(_serve(settings))
    except (CenterError, OSError) as exc:
        sys.stderr.write(f"farshore-center: {exc}\n")
        raise typer.Exit(1) from exc
    raise typer.Exit(code)


@app.command()
def backup(
    to: Annotated[Path, typer.Option(help="the new file")],
    data: Annotated[Path, typer.Option(envvar="FARSHORE_DATA", help="folder of its data")] = Path(
        "farshore-data/center"
    ),
) -> None:
    """Copies the database of a center, running or not, to a file."""
    from farshore_center.db.backup import back_up

    try:
        size = back_up(data, to)
    except CenterError as exc:
        sys.stderr.write(f"farshore-center: {exc}\n")
        raise typer.Exit(1) from exc
    sys.stdout.write(f"{to}: {size} bytes\n")


@app.command()
def restore(
    source: Annotated[Path, typer.Option("--from", help="the file that a backup made")],
    data: Annotated[Path, typer.Option(envvar="FARSHORE_DATA", help="folder of its data")] = Path(
        "farshore-data/center"
    ),
) -> None:
    """Puts a backup into a data folder without a database; the next start knows that it is one."""
    from farshore_center.db.backup import put_back

    try:
        put_back(source, data)
    except CenterError as exc:
        sys.stderr.write(f"farshore-center: {exc}\n")
        raise typer.Exit(1) from exc
    sys.stdout.write(f"{data}: restored from {source}; commands are held until you resume\n")


def _set_up_logging(level: str) -> None:
    """One format for every line, ours and the libraries': a fixed message, then fields."""
    import structlog

    terminal = sys.stderr.isatty()
    stamps: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if terminal:
        renderers.append(structlog.dev.ConsoleRenderer())
    else:
        renderers += [
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event"], bool_as_flag=False
            ),
        ]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*stamps, structlog.stdlib.ExtraAdder()], processors=renderers
        )
    )
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *stamps,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


async def _serve(settings: Settings) -> int:
    from farshore_protocol import garbage

    garbage.starting()
    from farshore_protocol.clock import SystemClock
    from farshore_protocol.ids import system_rng

    from farshore_center.app import Center
    from farshore_center.db.backup import MARKER

    _set_up_logging(settings.log_level)
    marker = settings.data / MARKER
    settings = replace(settings, restored=settings.restored or marker.exists())
    center = Center(settings, clock=SystemClock(), rng=system_rng())
    server = _server(settings, center.api)

    def leave() -> None:
        center.events.close()  # open event streams would hold the server
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    try:
        await center.start()
        marker.unlink(missing_ok=True)
        garbage.settle()
        serving = asyncio.create_task(server.serve(sockets=_listen(settings.http)))
        broken = asyncio.create_task(center.broken.wait())
        await asyncio.wait([serving, broken], return_when=asyncio.FIRST_COMPLETED)
        broken.cancel()
        leave()
        await serving
    finally:
        await center.stop()
    return 1 if center.broken.is_set() or not server.started else 0


def _listen(address: Address) -> list[socket.socket]:
    """Listening sockets; uvicorn would end the process by itself where it can't have one."""
    try:
        listening = [
            socket.create_server(place[:2], family=family, backlog=1024)
            for family, *_, place in socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        ]
    except OSError as exc:
        raise ListenError("--http", address, exc) from exc
    for sock in listening:
        # Inherited by what is accepted; asyncio sets it only on sockets that name their protocol,
        # and without it a small answer waits 40 ms for the client's delayed acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _server(settings: Settings, api: "FastAPI") -> "uvicorn.Server":
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves the signals to us: uvicorn would raise them again before the center has stopped."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(
        uvicorn.Config(
            api,
            host=settings.http.host,
            port=settings.http.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=256 * 1024,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=3,
        )
    )


def main() -> None:
    app()
