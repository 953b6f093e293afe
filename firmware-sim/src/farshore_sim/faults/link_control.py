"""``farshore-sim proxy``: a bad link to feel, its faults set by lines on standard input."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Sequence

from farshore_sim.faults.errors import FaultError
from farshore_sim.faults.link_faults import Direction
from farshore_sim.faults.link_words import ACTIONS, FAULTS, Act, Order, Put, Take, read, shown
from farshore_sim.faults.proxy import Reception, TcpProxy

Say = Callable[[str], None]


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT``. Raises FaultError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise FaultError(f"{text!r}: expected HOST:PORT")
    return host, int(port)


async def serve(listen: str, to: str, *, lines: Sequence[str], seed: int) -> None:
    """Until it is cancelled. ``lines``: said before the first connection."""
    host, port = address(listen)
    orders = [order for line in lines if (order := read(line)) is not None]
    proxy = TcpProxy(*address(to), host=host, port=port, seed=seed)
    for order in orders:
        await obey(proxy, order, _say)
    try:
        await proxy.start()
    except OSError as exc:
        raise FaultError(f"can't listen on {listen}: {exc.strerror}") from exc
    try:
        _say(f"listening on {host}:{proxy.port}, to {to}; type a fault, or help")
        await _control(proxy, _say)
    finally:
        await proxy.stop()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def obey(proxy: TcpProxy, order: Order, say: Say) -> None:
    match order:
        case Put():
            proxy.put(order.fault, order.direction)
        case Take():
            proxy.take(order.kind, order.direction)
        case Act(word="cut"):
            await proxy.cut()
        case Act(word="heal"):
            await proxy.heal()
        case Act(word="clear"):
            proxy.clear()
            await proxy.receive(Reception.FORWARD)
        case Act(word="show"):
            _show(proxy, say)
        case Act(word="help"):
            for word, text in {w: f.told for w, f in FAULTS.items()}.items():
                say(f"{word:<10} {text} [up|down|both]")
            say(f"{'no FAULT':<10} takes it off [up|down|both]")
            for word, text in ACTIONS.items():
                say(f"{word:<10} {text}")
        case Act(word=word):
            await proxy.receive(Reception(word))


def _show(proxy: TcpProxy, say: Say) -> None:
    say(
        f"{proxy.reception.value}{', cut' if proxy.is_cut else ''}; connections: {proxy.connections}"
    )
    for direction in Direction.BOTH:
        say(f"{str(direction.name).lower()}: {shown(proxy.shape(direction))}")


async def _control(proxy: TcpProxy, say: Say) -> None:
    """Obeys what is typed; when standard input ends, the link stays as it is."""
    typed: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    # A thread: standard input may be a file or /dev/null, which no event loop can wait for. It is
    # left where it reads: nothing but typing would wake it.
    threading.Thread(target=_type, args=(loop, typed), daemon=True).start()
    while True:
        line = await typed.get()
        try:
            order = read(line)
            if order is not None:
                await obey(proxy, order, say)
        except (FaultError, OSError) as exc:
            say(f"not done: {exc}")


def _type(loop: asyncio.AbstractEventLoop, typed: "asyncio.Queue[str]") -> None:
    rest = b""
    try:
        while data := os.read(0, 4096):  # not sys.stdin, whose lock would outlive the loop
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                loop.call_soon_threadsafe(typed.put_nowait, line.decode(errors="replace"))
    except (OSError, RuntimeError):  # no standard input; or the loop is closed
        return
