"""What must hold in every world. ``docs/world.md`` lists the invariants by number.

The center is asked past its own code, by plain SQL over what it has committed; the nodes by what
the witness saw become durable.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from farshore_center.telemetry import chunk
from farshore_edge.database import Change, Record
from farshore_edge.outbox.envelope import without_mark
from farshore_protocol.commands.lifecycle import FINAL
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.link import Message
from farshore_protocol.messages import Envelope
from farshore_protocol.messages.record import STREAM_OF
from farshore_protocol.stream import RangeSet
from farshore_protocol.telemetry import inflate
from farshore_protocol.topics import Up, parse

from farshore_sim.world.node import SERIES, SimulatedNode
from farshore_sim.world.store import CenterStore
from farshore_sim.world.witness import StreamKey, Witness

_ENVELOPE = msgspec.json.Decoder(Envelope)


@dataclass(frozen=True, slots=True)
class Told:
    """A book of the center, as committed."""

    accepted: RangeSet
    lost: RangeSet
    head: int


class Invariants:
    def __init__(
        self, store: CenterStore, nodes: Sequence[SimulatedNode], witness: Witness
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._witness = witness
        self._disks = {node.name: node.disk for node in nodes}

    # At the moment

    def deleted(self, node: str, stream: str, epoch: str, seq: int, change: Change) -> None:
        """I7: a node deletes only what the center has committed, or what it declares lost."""
        if any(x.stream == stream and x.first <= seq <= x.last for x in change.losses):
            return
        found = self._store.rows(
            "SELECT accepted, lost FROM stream_book WHERE node = ? AND stream = ? AND epoch = ?",
            node,
            stream,
            epoch,
        )
        if not any(_within(ranges, seq) for row in found for ranges in row):
            self._witness.violated("I7", f"{node} deleted {stream} {seq}, which nobody has")

    def published(self, message: Message) -> None:
        """I3: what travels is durable at the node, and is the record that was made.

        Metrics may travel from memory under seqs that are reserved on the disk. While its disk
        fails, a node may say things in an epoch that is on no disk.
        """
        topic = parse(message.topic)
        if not isinstance(topic, Up) or topic.kind not in STREAM_OF:
            return
        try:
            envelope = _ENVELOPE.decode(inflate(message.payload))
        except (msgspec.MsgspecError, RemoteProtocolError) as exc:
            self._witness.violated("I3", f"{message.topic}: no record: {exc}")
            return
        stream = STREAM_OF[topic.kind]
        key = (topic.node, stream, envelope.epoch)
        known = envelope.seq in self._witness.made.get(key, {})
        disk = self._disks[topic.node]
        if envelope.epoch in disk.epochs:
            if known:
                return
            if envelope.seq > self._witness.reserved.get(key, 0):
                self._witness.violated(
                    "I3", f"{topic.node} sent {stream} {envelope.seq} before it was durable"
                )
        elif not known and not disk.has_failed():
            self._witness.violated(
                "I3",
                f"{topic.node} said {stream} {envelope.seq} from memory: its disk never failed",
            )
        said = Record(
            stream=stream,
            seq=envelope.seq,
            path=f"{topic.kind}/{topic.name}",
            payload=without_mark(message.payload),
        )
        self._witness.came_to_be(topic.node, envelope.epoch, said)

    # All along

    def books(self) -> dict[StreamKey, Told]:
        """I1 and I3 over what is committed now."""
        told = {}
        for node, stream, epoch, accepted, lost, head in self._store.rows(
            "SELECT node, stream, epoch, accepted, lost, head FROM stream_book"
        ):
            key = (node, stream, epoch)
            book = Told(RangeSet(json.loads(accepted)), RangeSet(json.loads(lost)), head)
            told[key] = book
            if any(book.lost.within(first, last) for first, last in book.accepted):
                self._witness.violated("I1", f"{key}: accepted and lost: {accepted} {lost}")
            made, reserved = self._witness.head(key), self._witness.reserved.get(key, 0)
            if book.accepted.last > made or max(book.lost.last, head) > max(made, reserved):
                self._witness.violated("I1", f"{key}: head {head}, but {made} were made")
        return told

    # At the end

    def final(self) -> None:
        told = self.books()
        self._losses()
        self._telemetry(told)
        self._events(told)
        self._commands()

    def incomplete(self) -> str | None:
        """I1: of a node that lives, each record is accepted or lost; what is missing."""
        told = self.books()
        for node in self._nodes:
            if node.retired:
                continue
            for stream, state in node.disk.memory.streams().items():
                key = (node.name, stream, state.epoch)
                made, book = self._witness.head(key), told.get(key)
                if made == 0:
                    continue
                settled = RangeSet()
                if book is not None:
                    settled.update(book.accepted)
                    settled.update(book.lost)
                last = max(made, settled.last)  # what was reserved may be declared lost
                if settled.pairs() != [(1, last)]:
                    return f"{key}: {settled} is not 1..{made}"
        return None

    def _losses(self) -> None:
        """I3: what is lost is lost for a reason that this world has."""
        for node, stream, first, last, reason in self._store.rows(
            "SELECT node, stream, first, last, reason FROM stream_loss"
        ):
            if reason not in self._witness.justified:
                self._witness.violated("I3", f"{node} {stream} {first}..{last} lost: {reason}")

    def _telemetry(self, told: dict[StreamKey, Told]) -> None:
        """I2, I3: the numbers in the history are those of the accepted records, each once."""
        for node in self._nodes:
            accepted: Counter[float] = Counter()
            for (name, stream, epoch), records in self._witness.made.items():
                book = told.get((name, stream, epoch))
                if name != node.name or stream != "metrics" or book is None:
                    continue
                for record in (each for seq, each in records.items() if seq in book.accepted):
                    accepted.update(_numbers(record.payload))
            self._compare(f"{node.name} telemetry", accepted, Counter(self._stored(node.name)))

    def _stored(self, node: str) -> Iterable[float]:
        for (payload,) in self._store.rows(
            "SELECT payload FROM telemetry_batch WHERE node = ?", node
        ):
            yield from _numbers(payload)
        for (payload,) in self._store.rows(
            "SELECT payload FROM telemetry_chunk WHERE node = ?", node
        ):
            column = chunk.decode(payload).columns.get(SERIES)
            if column is not None:
                yield from column.values.tolist()

    def _events(self, told: dict[StreamKey, Told]) -> None:
        accepted: Counter[float] = Counter()
        for (node, stream, epoch), records in self._witness.made.items():
            book = told.get((node, stream, epoch))
            if stream != "events" or book is None:
                continue
            accepted.update(
                json.loads(record.payload)["data"]["n"]
                for seq, record in records.items()
                if record.path == "evt/world" and seq in book.accepted
            )
        stored = Counter(
            json.loads(data)["n"]
            for (data,) in self._store.rows("SELECT data FROM event WHERE kind = 'evt.world'")
        )
        self._compare("events", accepted, stored)

    def _compare(self, what: str, accepted: Counter[float], stored: Counter[float]) -> None:
        twice = sorted(number for number, times in stored.items() if times > 1)
        missing = sorted((accepted - stored).keys() - set(twice))
        strange = sorted(stored.keys() - accepted.keys())
        for invariant, numbers, word in (
            ("I2", twice, "stored twice"),
            ("I3", missing, "accepted and not stored"),
            ("I2", strange, "stored and not accepted"),
        ):
            if numbers:
                self._witness.violated(invariant, f"{what}: {word}: {numbers[:10]}")

    def _commands(self) -> None:
        """I4: what the center shows of a command is what happened."""
        nodes = {node.name: node for node in self._nodes}
        for command_id, name, state, sends, verb, args in self._store.rows(
            "SELECT t.command_id, t.node, t.state, t.sends, c.verb, c.args FROM command_target t "
            "JOIN command c ON c.id = t.command_id ORDER BY 1, 2"
        ):
            node, what = nodes[name], f"{command_id} at {name}: {state}"
            forgotten = node.retired or node.disk.generation > 0
            if state not in FINAL and not forgotten:
                self._witness.violated("I4", f"{what}, which is no end")
            if verb != "exec":
                continue
            tag = json.loads(args)["argv"][1]
            effects = len(self._witness.effects.get((name, tag), ()))
            if not _fits(state, effects, sends, forgotten=forgotten):
                self._witness.violated("I4", f"{what}, sent {sends} times, {effects} effects")

    def presence(self, center_view: frozenset[str], here: frozenset[str]) -> None:
        """I5: after quiet, the center's view is the truth."""
        if center_view != here:
            wrong = ", ".join(sorted(center_view ^ here))
            self._witness.violated("I5", f"presence is wrong of {wrong}; here are {sorted(here)}")


def _fits(state: str, effects: int, sends: int, *, forgotten: bool) -> bool:
    """Whether a target's state and its number of effects go together.

    ``forgotten``: the node's ledger, or its last word, is gone with its disk.
    """
    match state:
        case "succeeded" | "failed":
            return effects == 1 or (forgotten and effects >= 1)
        case "queued" | "cancelled" | "rejected":
            return effects == 0 or (forgotten and sends > 0)
        case "expired":
            return effects == 0 or (forgotten and sends > 0)
        case _:
            return effects <= 1 or forgotten


def _numbers(payload: bytes) -> list[float]:
    batch = json.loads(inflate(payload))
    return [value for value in batch["m"].get(SERIES, ()) if value is not None]


def _within(ranges: bytes, seq: int) -> bool:
    return any(first <= seq <= last for first, last in json.loads(ranges))
