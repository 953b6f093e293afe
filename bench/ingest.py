"""Messages a second through the center, committed, against stock amqtt one to one.

The same publisher, the same messages, the same machine, in turn: amqtt, one node, many nodes, and
again. What the center does beyond a broker (validating, the books, SQLite, the acknowledgement) is
in its figure.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from bench import proc
from bench.center import Center, center
from bench.context import Context
from bench.errors import BenchError
from bench.model import Figure, Outcome, Runs, Verdict
from bench.processes import Running, free_port, module, running
from bench.records import Load, Sent, node_names

PROMISED = 0.5
MANY = 20
WINDOW = 64
"""Unacknowledged packets on a connection."""
PUBLISHER_S = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass of one side."""

    messages: int
    seconds: float
    server_cpu_s: float
    client_cpu_s: float

    @property
    def rate(self) -> float:
        return self.messages / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """All sides, one after the other."""

    stock: Pass
    one: Pass
    many: Pass


def summarise(rounds: Sequence[Round]) -> Outcome:
    """The ratio pair by pair: what disturbs a round disturbs both of its sides."""
    stock = [r.stock for r in rounds]
    sides = (
        ("one", "one node", [r.one for r in rounds]),
        ("many", f"{MANY} nodes", [r.many for r in rounds]),
    )
    verdicts, figures = [], _costs("amqtt", "stock amqtt", stock)
    for name, what, ours in sides:
        ratios = Runs.of([a.rate / b.rate for a, b in zip(ours, stock, strict=True)])
        verdicts.append(
            Verdict(
                name=f"ingest.{name}",
                what=f"committed ingest of {what} against stock amqtt one to one",
                unit="×",
                promised=PROMISED,
                measured=ratios.median,
                at_most=False,
                sides=(_rates("farshore", what, ours), _rates("amqtt", "one to one", stock)),
            )
        )
        pairs = f"{what}, pair by pair"
        figures.append(Figure(name=f"ingest.{name}.ratios", what=pairs, unit="×", runs=ratios))
        figures += _costs(name, what, ours)
    return Outcome(measure="ingest", verdicts=tuple(verdicts), figures=tuple(figures))


def _rates(name: str, what: str, passes: Sequence[Pass]) -> Figure:
    runs = Runs.of([p.rate for p in passes])
    return Figure(name=name, what=what, unit="messages/s", runs=runs)


def _costs(name: str, what: str, passes: Sequence[Pass]) -> list[Figure]:
    return [
        Figure(
            name=f"ingest.{name}.server_cpu",
            what=f"{what}: the server's CPU time for a message",
            unit="µs",
            runs=Runs.of([p.server_cpu_s / p.messages * 1e6 for p in passes]),
        ),
        Figure(
            name=f"ingest.{name}.client_cpu",
            what=f"{what}: the publisher's CPU use",
            unit="cores",
            runs=Runs.of([p.client_cpu_s / p.seconds for p in passes]),
        ),
    ]


async def run(context: Context) -> Outcome:
    rounds = []
    count = 1 if context.quick else 3
    for number in range(1, count + 1):
        context.say(f"round {number} of {count}: stock amqtt")
        stock = await _stock_pass(context)
        context.say(f"round {number} of {count}: one node")
        one = await _center_pass(context, nodes=1)
        context.say(f"round {number} of {count}: {MANY} nodes")
        many = await _center_pass(context, nodes=MANY)
        rounds.append(Round(stock=stock, one=one, many=many))
    return summarise(rounds)


def _load(context: Context, port: int, nodes: int, *, plain: bool) -> Load:
    messages = 4_000 if context.quick else 20_000
    return Load(
        port=port,
        nodes=nodes,
        messages=messages,
        warm_up=1_000 // nodes,
        window=WINDOW,
        plain=plain,
    )


async def _stock_pass(context: Context) -> Pass:
    port = free_port()
    folder = context.folder("amqtt")
    argv = module("stock_broker", str(port))
    async with running("amqtt", *argv, log=folder / "amqtt.log") as broker:
        await _listening(broker, port)
        return await _publish(_load(context, port, 1, plain=True), broker, folder)


async def _center_pass(context: Context, *, nodes: int) -> Pass:
    folder = context.folder("ingest")
    async with center(folder) as found:
        load = _load(context, found.mqtt_port, nodes, plain=False)
        done = await _publish(load, found.process, folder)
        await _check_books(found, load)
        return done


async def _publish(load: Load, server: Running, folder: Path) -> Pass:
    output = folder / "publisher.json"
    before = proc.cpu_s(server.pid)
    argv = module("publisher", msgspec.json.encode(asdict(load)).decode())
    async with running("publisher", *argv, log=output) as publisher:
        await publisher.finished(PUBLISHER_S)
    server_cpu_s = proc.cpu_s(server.pid) - before
    server.check()
    sent = msgspec.json.decode(output.read_bytes(), type=Sent)
    messages = load.each * load.nodes
    warmed = messages + load.warm_up * load.nodes
    return Pass(
        messages=messages,
        seconds=sent.seconds,
        # The warm-up is in the server's CPU time, and costs about the same for each message.
        server_cpu_s=server_cpu_s * messages / warmed,
        client_cpu_s=sent.client_cpu_s,
    )


async def _check_books(found: Center, load: Load) -> None:
    """Every record accepted exactly once, or the measurement is none."""
    expected = load.warm_up + load.each
    for node in node_names(load):
        book = (await found.books(node))["metrics"]
        accepted, head, extra = book["accepted"], book["head"], book["duplicates"]
        if (accepted, head, extra) != (expected, expected, 0) or book["holes"] or book["lost"]:
            raise BenchError(f"{node}: expected {expected} records accepted once, got {book}")


async def _listening(server: Running, port: int) -> None:
    for _ in range(300):
        server.check()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return
    raise BenchError(f"{server.name} does not listen:\n{server.log_end()}")
