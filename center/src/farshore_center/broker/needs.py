"""What the center needs of a broker, and whether what was seen of one is that.

Pure: ``Script`` is what the self-test says, ``Evidence`` what was heard of it, ``judge`` compares.
Talking to the broker is ``selftest.py``. What brokers do beyond this list is of no interest here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.link import Message
from farshore_protocol.topics import Down, GroupCommand, Up

Need = Literal[
    "connection",
    "qos1",
    "wildcard",
    "down",
    "group",
    "deep_topic",
    "retained",
    "clearing",
    "clean_session",
    "will",
    "large_payload",
]

NEEDS: Mapping[Need, str] = {
    "connection": "two clients connect, subscribe and stay",
    "qos1": "a QoS 1 message arrives, at QoS 1",
    "wildcard": "the filters '+' and '#' get what they match",
    "down": "what the center says to a node arrives there",
    "group": "a topic level with '~', as in groups' paths, arrives unchanged",
    "deep_topic": "a topic of seven levels arrives",
    "retained": "a retained message comes with a later subscription, marked as retained",
    "clearing": "an empty retained message clears the topic",
    "clean_session": "a clean session brings nothing of the one before",
    "will": "the will of a connection that was lost is published",
    "large_payload": f"a message of {MAX_MESSAGE_BYTES} bytes arrives whole",
}
"""Each need, as the sentence that a person reads where it is not met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The self-test's messages. ``name``: a node's name that nobody has.

    All of them are below kinds that no center keeps and no node listens to.
    """

    name: str

    def _up(self, word: str, payload: bytes, *, retain: bool = False) -> Message:
        topic = Up(node=self.name, kind="log", name=word).build()
        return Message(topic=topic, payload=payload, qos=1, retain=retain)

    def _down(self, word: str) -> Message:
        topic = Down(node=self.name, kind="cmd", name=word).build()
        return Message(topic=topic, payload=word.encode(), qos=1)

    @property
    def center_filters(self) -> tuple[str, ...]:
        return (
            Up(node="+", kind="log", name="#").build(),
            Up(node="+", device="+", kind="log", name="#").build(),
        )

    @property
    def node_filters(self) -> tuple[str, ...]:
        return (f"{Down(node=self.name, kind='cmd').build()}/#", self.group.topic)

    @property
    def live(self) -> Message:
        return self._up("live", b"live")

    @property
    def deep(self) -> Message:
        topic = Up(node=self.name, device="selftest", kind="log", name="deep").build()
        return Message(topic=topic, payload=b"deep", qos=1)

    @property
    def down(self) -> Message:
        return self._down("down")

    @property
    def group(self) -> Message:
        path = "/".join((self.name, *(f"l{level}" for level in range(2, 8))))
        topic = GroupCommand(group=path, verb="selftest").build()
        return Message(topic=topic, payload=b"group", qos=1)

    @property
    def kept(self) -> Message:
        return self._up("kept", b"kept", retain=True)

    @property
    def cleared(self) -> Message:
        return self._up("kept", b"", retain=True)

    @property
    def missed(self) -> Message:
        return self._down("missed")

    @property
    def stale(self) -> Message:
        return self._down("stale")

    @property
    def marker(self) -> Message:
        return self._down("marker")

    @property
    def will(self) -> Message:
        return self._up("will", b"will")

    @property
    def large(self) -> Message:
        pattern = bytes(range(256))
        return self._up("large", pattern * (MAX_MESSAGE_BYTES // len(pattern)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was heard in time of each of the script's messages; None: nothing.

    ``late``: all that a subscription after ``kept`` got; ``later``: one after ``cleared``;
    ``again``: the node's second session. None: it did not even hear the marker.
    """

    live: Message | None = None
    deep: Message | None = None
    down: Message | None = None
    group: Message | None = None
    late: tuple[Message, ...] | None = None
    later: tuple[Message, ...] | None = None
    again: tuple[Message, ...] | None = None
    will: Message | None = None
    large: Message | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``faults``: what the broker can't do → what was seen instead. Empty: it can do all."""

    faults: Mapping[Need, str]

    @property
    def fit(self) -> bool:
        return not self.faults

    @property
    def reached(self) -> bool:
        """Whether there was a broker to examine."""
        return "connection" not in self.faults

    def text(self) -> str:
        """For people: every need that is not met, and what was seen."""
        return "; ".join(f"{NEEDS[need]}: {seen}" for need, seen in self.faults.items())


def unreached(reason: str) -> Report:
    return Report(faults={"connection": reason})


def judge(script: Script, seen: Evidence) -> Report:
    """What is missing, in the order of ``NEEDS``."""
    marker = script.marker
    faults: dict[Need, str | None] = {
        "qos1": _fault(script.live, seen.live, qos=1),
        "wildcard": _fault(script.live, seen.live),
        "down": _fault(script.down, seen.down),
        "group": _fault(script.group, seen.group),
        "deep_topic": _fault(script.deep, seen.deep),
        "retained": _retained_fault(script.kept, seen.late),
        "clearing": _extra_fault(marker, seen.later),
        "clean_session": _extra_fault(marker, seen.again),
        "will": _fault(script.will, seen.will),
        "large_payload": _fault(script.large, seen.large),
    }
    return Report(faults={need: fault for need, fault in faults.items() if fault is not None})


def _fault(said: Message, heard: Message | None, *, qos: int | None = None) -> str | None:
    if heard is None:
        return "it did not arrive in time"
    if heard.topic != said.topic:
        return f"it arrived as {heard.topic!r}, not as {said.topic!r}"
    if len(heard.payload) != len(said.payload):
        return f"{len(heard.payload)} of {len(said.payload)} bytes arrived"
    if heard.payload != said.payload:
        return "it arrived with other content"
    if qos is not None and heard.qos != qos:
        return f"it arrived at QoS {heard.qos}"
    return None


def _retained_fault(kept: Message, heard: tuple[Message, ...] | None) -> str | None:
    found = [message for message in heard or () if message.topic == kept.topic]
    if not found:
        return "it did not come"
    return _fault(kept, found[0]) or (None if found[0].retain else "it was not marked as retained")


def _extra_fault(marker: Message, heard: tuple[Message, ...] | None) -> str | None:
    if heard is None:
        return "nothing came at all"
    extra = sorted({message.topic for message in heard if message.topic != marker.topic})
    return f"there came {', '.join(extra)}" if extra else None
