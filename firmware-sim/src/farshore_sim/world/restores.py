"""What a center that was set back to a copy of its store must do, and what is excused because of it.

It keeps what the center knew in futures that were lost: nodes may have obeyed it. It sees the births
that prove a restore to the center, and that nothing of before is sent until a person resumes.
"""

import sqlite3
from collections.abc import Iterable

import msgspec
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.link import Message
from farshore_protocol.messages import Birth, CenterMark
from farshore_protocol.stream import RangeSet
from farshore_protocol.telemetry import inflate
from farshore_protocol.topics import Down, Up, parse

from farshore_sim.world.store import CenterStore
from farshore_sim.world.witness import StreamKey, Witness

LATE_S = 10.0
"""What the center of before has sent may still arrive for so long."""
_BIRTH = msgspec.json.Decoder(Birth)


class Restores:
    """``happened``: how often. ``futures``: what the center had settled in all that was lost.

    ``crossed``: what of it a copy has accepted, too, that is of a time that was left already, and
    accepted on its own: there it may be another record, as if two centers ran with copies of one
    store.
    """

    def __init__(self, store: CenterStore, witness: Witness) -> None:
        self._store = store
        self._witness = witness
        self.happened = 0
        self.futures: dict[StreamKey, RangeSet] = {}
        self.crossed: dict[StreamKey, RangeSet] = {}
        self._before: dict[str, int] = {}
        self._known: dict[str, int] = {}
        self._waiting: set[tuple[str, str]] = set()
        self._at_s = 0.0
        self._told_by: set[str] = set()
        self._said = False
        self._seen_before = 0

    def set_back(self, copy: sqlite3.Connection, *, said: bool) -> None:
        """``said``: a person will say that it is from a backup."""
        for node, stream, epoch, *settled in self._store.rows(
            "SELECT node, stream, epoch, accepted, lost FROM stream_book"
        ):
            future = self.futures.setdefault((node, stream, epoch), RangeSet())
            for ranges in settled:
                future.update(RangeSet(msgspec.json.decode(ranges)))
        self._before = self._epochs()
        shared = self._store.set_back(copy)
        if shared is not None:
            self._cross(shared)
        self.happened += 1
        self._known = self._epochs()
        self._waiting = set(
            self._store.rows(
                "SELECT command_id, node FROM command_target WHERE state IN ('queued', 'sent')"
            )
        )
        self._at_s = self._witness.time_s()
        self._told_by.clear()
        self._said = said
        self._seen_before = self._seen()

    def _cross(self, shared: Iterable[sqlite3.Connection]) -> None:
        before: dict[StreamKey, RangeSet] = {}
        for past in shared:
            for key, accepted in _accepted(past):
                before.setdefault(key, RangeSet()).update(accepted)
        for key, accepted in _accepted(self._store.raw):
            crossed = self.crossed.setdefault(key, RangeSet())
            for both in accepted:
                for part in self.futures.get(key, RangeSet()).within(*both):
                    for own in before.get(key, RangeSet()).missing(*part):
                        crossed.add(*own)

    def resumed(self) -> None:
        """A person goes on: nothing is held any more."""
        self._waiting.clear()

    def knew(self, key: StreamKey, seq: int) -> bool:
        """Whether the center had settled it in a future that was lost."""
        return key in self.futures and seq in self.futures[key]

    def published(self, message: Message) -> None:
        """I4: what waited at the time of the backup is not sent to a node that has told of the
        restore, nor to anyone if a person has, until a person resumes."""
        if not self.happened:
            return
        topic = parse(message.topic)
        if isinstance(topic, Up) and topic.kind == "birth":
            try:
                birth = _BIRTH.decode(inflate(message.payload))
            except (msgspec.MsgspecError, RemoteProtocolError):
                return
            if self._proves(birth.center):
                self._told_by.add(topic.node)
        elif isinstance(topic, Down) and topic.kind == "cmd":
            word = msgspec.json.decode(inflate(message.payload))
            if word.get("ask"):
                return  # nothing is run because of a question
            command = str(word["id"])
            held = (command, topic.node) in self._waiting
            late = self._witness.time_s() < self._at_s + LATE_S
            if held and not late and (self._said or topic.node in self._told_by):
                self._witness.violated("I4", f"{command} was sent to {topic.node} though held")

    def final(self) -> None:
        """I4: who is told of a restore sees it."""
        if (self._said or self._told_by) and self._seen() <= self._seen_before:
            by = "a person" if self._said else ", ".join(sorted(self._told_by))
            self._witness.violated("I4", f"the restore that {by} told of was not seen")

    def _proves(self, mark: CenterMark | None) -> bool:
        if mark is None:
            return False
        _, epoch, generation = mark
        # What an earlier restore took is no news of the latest one.
        return self._known.get(epoch, -1) < generation <= self._before.get(epoch, -1)

    def _epochs(self) -> dict[str, int]:
        return dict(self._store.rows("SELECT epoch, generation FROM center_epoch WHERE known"))

    def _seen(self) -> int:
        found = self._store.rows("SELECT count(*) FROM event WHERE kind = 'center.restored'")
        return int(found[0][0])


def _accepted(store: sqlite3.Connection) -> Iterable[tuple[StreamKey, RangeSet]]:
    rows = store.execute("SELECT node, stream, epoch, accepted FROM stream_book")
    for node, stream, epoch, accepted in rows:
        yield (node, stream, epoch), RangeSet(msgspec.json.decode(accepted))
