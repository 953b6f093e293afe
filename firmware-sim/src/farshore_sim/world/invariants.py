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
from farshore_edge.outbox.envelope import without_marks
from farshore_protocol.commands.lifecycle import FINAL
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.link import Message
from farshore_protocol.messages import Envelope
from farshore_protocol.messages.record import STREAM_OF
from farshore_protocol.stream import RangeSet
from farshore_protocol.telemetry import inflate
from farshore_protocol.topics import Down, Up, parse

from farshore_sim.world.loss_words import loss_words
from farshore_sim.world.node import SERIES, SimulatedNode
from farshore_sim.world.restores import Restores
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
        self,
        store: CenterStore,
        nodes: Sequence[SimulatedNode],
        witness: Witness,
        restores: Restores,
    ) -> None:
        self._restores = restores
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
        known = any(_within(ranges, seq) for row in found for ranges in row)
        if not known and not self._restores.knew((node, stream, epoch), seq):
            self._witness.violated("I7", f"{node} deleted {stream} {seq}, which nobody has")

    def published(self, message: Message) -> None:
        """I3: what travels is durable at the node, and is the record that was made.

        Metrics may travel from memory under seqs that are reserved on the disk. While its disk
        fails, a node may say things in an epoch that is on no disk.
        """
        self._restores.published(message)
        topic = parse(message.topic)
        if isinstance(topic, Down) and topic.kind == "cmd" and topic.name == "exec":
            order = json.loads(inflate(message.payload))
            if not order["ask"]:
                self._witness.commands[order["args"]["argv"][1]] = order["id"]
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
            if not known and envelope.seq > self._witness.reserved.get(key, 0):
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
            payload=without_marks(message.payload),
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
                if self._witness.repeats(key):
                    made = state.head  # what was made beyond is not remembered
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
            keys = [key for key in self._witness.made if key[:2] == (node.name, "metrics")]
            stored = Counter(self._stored(node.name))
            self._compare(f"{node.name} telemetry", self._accepted(keys, told, stored), stored)

    def _accepted(
        self, keys: Iterable[StreamKey], told: dict[StreamKey, Told], stored: Counter[float]
    ) -> Counter[float]:
        """The numbers of what was accepted. A seq that was given twice stands for the record that
        the center has, if it has one."""
        accepted: Counter[float] = Counter()
        doubtful: list[list[Record]] = []
        for key in keys:
            book, others = told.get(key), self._witness.others.get(key, {})
            for seq, record in self._witness.made[key].items() if book is not None else ():
                if book is None or seq not in book.accepted:
                    continue
                if seq in others:
                    doubtful.append([record, *others[seq]])
                else:
                    accepted.update(numbers(record))
        for records in doubtful:
            left = stored - accepted
            choices = [numbers(record) for record in records]
            there = [each for each in choices if left.keys() >= set(each)]
            has: list[float] = max(there, key=len) if there else choices[0]
            accepted.update(has)
        return accepted

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
        keys = [key for key in self._witness.made if key[1] == "events"]
        stored = self._stored_events()
        self._compare("events", self._accepted(keys, told, stored), stored)

    def _stored_events(self) -> Counter[float]:
        return Counter(
            json.loads(data)["n"]
            for (data,) in self._store.rows("SELECT data FROM event WHERE kind = 'evt.world'")
        )

    def whole(self) -> None:
        """I1: whatever a disk remembers of having made is stored or declared lost, also where its
        seq was another record's to the center: what was given up is declared under a new one, and
        of what can't be told apart the node's word stands among the events. But of two copies that
        cross, of a disk or of the center's store, the first one to arrive counts."""
        told = self.books()
        said = loss_words(
            self._store.rows("SELECT node, data FROM event WHERE kind = 'stream.loss'")
        )
        crossed = self._restores.crossed
        for node in self._nodes:
            if node.retired or not any(key[0] == node.name for key in self._witness.others):
                continue
            current = {state.epoch for state in node.disk.memory.streams().values()}
            stored = {"metrics": set(self._stored(node.name)), "events": set(self._stored_events())}
            for stream, have in stored.items():
                missing: dict[float, int] = {}
                for (name, epoch, seq), record in node.disk.line.items():
                    key = (node.name, stream, epoch)
                    excused = epoch not in current and self._restores.knew(key, seq)
                    if name != stream:
                        continue
                    declared = any(
                        which in told and number in told[which].lost
                        for which, number in ((key, seq), *said.again.get((key, seq), ()))
                    )
                    crosses = (name, epoch, seq) in node.disk.crossed or seq in crossed.get(key, ())
                    if crosses and key in told:
                        others = self._witness.others.get(key, {})
                        excused |= seq in others and seq in told[key].accepted
                    if excused or declared or seq in said.doubtful.get(key, ()):
                        have.update(numbers(record))
                    missing |= dict.fromkeys(numbers(record), seq)
                gone = sorted(missing.keys() - have)
                if gone:
                    self._witness.violated(
                        "I1", f"{node.name} {stream}: silently gone: {gone[:10]}"
                    )

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

    def _node(self, name: str) -> SimulatedNode:
        return next(node for node in self._nodes if node.name == name)

    def forgotten(self, name: str, command_id: str) -> bool:
        """Whether the node's ledger, or its last word, is gone with its disk."""
        node = self._node(name)
        return node.retired or node.disk.generation > 0 or command_id in node.disk.forgot

    def endless(self, name: str) -> bool:
        """Whether nobody will tell the center how it ended what the node has taken."""
        return self._node(name).retired

    def _commands(self) -> None:
        """I4: what the center shows of a command is what happened."""
        for command_id, name, state, sends, said, verb, args in self._store.rows(
            "SELECT t.command_id, t.node, t.state, t.sends, t.epoch IS NOT NULL, c.verb, c.args "
            "FROM command_target t JOIN command c ON c.id = t.command_id ORDER BY 1, 2"
        ):
            what = f"{command_id} at {name}: {state}"
            forgotten = self.forgotten(name, command_id)
            waiting = state in ("queued", "sent")
            if state not in FINAL and (waiting or not self.endless(name)):
                self._witness.violated("I4", f"{what}, which is no end")
            argv = json.loads(args).get("argv")
            if verb != "exec" or argv is None:  # a restored center hears of ids that it never gave
                continue
            tag = argv[1]
            effects = len(self._witness.effects.get((name, tag), ()))
            restored = self._restores.happened > 0
            if not _fits(
                state, effects, sends, forgotten=forgotten, restored=restored, said=bool(said)
            ):
                self._witness.violated("I4", f"{what}, sent {sends} times, {effects} effects")

    def presence(self, center_view: frozenset[str], here: frozenset[str]) -> None:
        """I5: after quiet, the center's view is the truth."""
        if center_view != here:
            wrong = ", ".join(sorted(center_view ^ here))
            self._witness.violated("I5", f"presence is wrong of {wrong}; here are {sorted(here)}")


def _fits(
    state: str,
    effects: int,
    sends: int,
    *,
    forgotten: bool,
    restored: bool = False,
    said: bool = False,
) -> bool:
    """Whether a target's state and its number of effects go together.

    ``forgotten``: the node's ledger, or its last word, is gone with its disk. ``restored``: the
    center may have sent it in a future that was lost. ``said``: the state is the node's word.
    """
    match state:
        case "succeeded" | "failed":
            return effects == 1 or (forgotten and effects >= 1)
        case "cancelled" if said:  # its node may have been at it
            return effects <= 1 or forgotten
        case "queued" | "cancelled" | "expired":
            if restored:
                return effects <= 1 or forgotten
            return effects == 0 or (forgotten and sends > 0)
        case "rejected":
            return effects == 0 or (forgotten and (sends > 0 or restored))
        case _:
            return effects <= 1 or forgotten


def numbers(record: Record) -> list[float]:
    """What tells the record from all others; of samples and of what the world lets nodes tell."""
    if record.stream == "metrics":
        return _numbers(record.payload)
    return [json.loads(record.payload)["data"]["n"]] if record.path == "evt/world" else []


def _numbers(payload: bytes) -> list[float]:
    batch = json.loads(inflate(payload))
    return [value for value in batch["m"].get(SERIES, ()) if value is not None]


def _within(ranges: bytes, seq: int) -> bool:
    return any(first <= seq <= last for first, last in json.loads(ranges))
