"""The network and its broker: MQTT 3.1.1 with clean sessions, and what can happen to it.

A connection has two ends that may believe different things: what was cut silently is noticed late,
at each end at another time. What a client published travels in order; of what is under way when the
connection breaks, a first part arrives, perhaps late, and the rest never does. The in-memory bus of
the protocol has one end only, so this one stands beside it.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Protocol

from farshore_protocol.link import Message, Session
from paho.mqtt.client import topic_matches_sub

WillOnTakeOver = str
WILLS: tuple[WillOnTakeOver, ...] = ("none", "before", "late")
"""What brokers do with the will of a connection that is taken over: all of it has been seen."""


class End(Protocol):
    """The client's end of a connection."""

    @property
    def wire(self) -> str: ...

    def arrived(self, connection: "Connection", message: Message) -> None: ...

    def ended(self, connection: "Connection", reason: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class Wire:
    """The line of one client; it can't be used before ``blocked_until_s``. What it sends, or is sent,
    does not arrive before ``up_held_s``, ``down_held_s``: one direction of it is cut."""

    blocked_until_s: float = 0.0
    delay_s: tuple[float, float] = (0.002, 0.04)
    slow_until_s: float = 0.0
    slow_s: float = 0.0
    doubles_until_s: float = 0.0
    up_held_s: float = 0.0
    down_held_s: float = 0.0


@dataclass(slots=True, eq=False)
class Connection:
    """``open``: the broker believes in it. ``broken``: nothing travels on it any more. ``since_s``:
    when it was made."""

    end: End
    session: Session
    wire: Wire
    since_s: float = 0.0
    open: bool = True
    broken: bool = False
    up_s: float = 0.0
    down_s: float = 0.0
    under_way: deque[Message | None] = field(default_factory=deque)
    """From the client, in order; None is its DISCONNECT."""
    coming: deque[Message] = field(default_factory=deque)
    left: asyncio.Event = field(default_factory=asyncio.Event)


class WorldBus:
    """``intake``, when set, is given what nodes publish (an embedded broker has its center at hand);
    ``tap`` sees every message that the broker takes."""

    def __init__(self, *, rng: random.Random, context: Context) -> None:
        self._loop = asyncio.get_running_loop()
        self._rng = rng
        self._context = context
        self._connections: dict[str, Connection] = {}
        self._routes: dict[str, list[Connection]] = {}
        self._retained: dict[str, Message] = {}
        self.wires: dict[str, Wire] = {}
        self.up = True
        self.intake: Callable[[str, Message], None] | None = None
        self.tap: Callable[[str, Message], None] = lambda _client, _message: None

    def wire(self, name: str) -> Wire:
        return self.wires.setdefault(name, Wire())

    def connected(self, wire: str) -> bool:
        """Whether the broker holds a whole connection over this wire."""
        return self.connected_since_s(wire) is not None

    def connected_since_s(self, wire: str) -> float | None:
        """Of that connection."""
        for each in self._connections.values():
            if each.end.wire == wire and each.open and not each.broken:
                return each.since_s
        return None

    def _later(self, wait_s: float, call: Callable[..., object], *args: object) -> None:
        self._loop.call_at(self._loop.time() + wait_s, call, *args, context=self._context)

    def _delay_s(self, wire: Wire) -> float:
        low_s, high_s = wire.delay_s
        if self._loop.time() < wire.slow_until_s:
            high_s = wire.slow_s
        return self._rng.uniform(low_s, high_s)

    # What clients do

    def reachable(self, wire: str) -> bool:
        line = self.wire(wire)
        usable_s = max(line.blocked_until_s, line.up_held_s, line.down_held_s)
        return self.up and self._loop.time() >= usable_s

    async def connect(self, end: End, session: Session) -> Connection | None:
        """A connection with its subscriptions, None where there is no way."""
        if not self.reachable(end.wire):
            return None
        await asyncio.sleep(self._delay_s(self.wire(end.wire)))
        if not self.reachable(end.wire):
            return None
        return self._attach(end, session)

    def _attach(self, end: End, session: Session) -> Connection:
        before = self._connections.get(session.client_id)
        if before is not None:
            self._take_over(before)
        connection = Connection(end, session, self.wire(end.wire), self._loop.time())
        self._connections[session.client_id] = connection
        self._routes.clear()
        for topic in sorted(self._retained):
            if _wants(session.filters, topic):
                self._down(connection, self._retained[topic])
        return connection

    def _take_over(self, before: Connection) -> None:
        fate = self._rng.choice(WILLS)
        self._break(before, arrive=self._rng.random() < 0.5)
        before.open = False
        before.end.ended(before, "taken over")
        will = before.session.will
        if will is not None and fate == "before":
            self._at_broker(before.session.client_id, will)
        elif will is not None and fate == "late":
            wait_s = self._rng.uniform(0.05, 5.0)
            self._later(wait_s, self._at_broker, before.session.client_id, will)

    def send(self, connection: Connection, message: Message | None) -> None:
        """From the client; it travels in order, or is lost without a word."""
        if connection.broken:
            return
        arrival_s = self._loop.time() + self._delay_s(connection.wire)
        connection.up_s = max(connection.up_s, arrival_s, connection.wire.up_held_s)
        connection.under_way.append(message)
        self._loop.call_at(connection.up_s, self._arrive, connection, context=self._context)

    def _arrive(self, connection: Connection) -> None:
        if connection.broken or not connection.under_way:
            return
        message = connection.under_way.popleft()
        if message is not None:
            self._at_broker(connection.session.client_id, message)
            return
        connection.broken = True
        self._detach(connection)
        connection.left.set()

    # What the broker does

    def publish(self, message: Message) -> None:
        """By the broker's own process: an embedded center."""
        self._at_broker("", message)

    def _at_broker(self, client: str, message: Message) -> None:
        if not self.up:
            return
        self.tap(client, message)
        if message.retain:
            self._retained[message.topic] = message
        live = Message(topic=message.topic, payload=message.payload, qos=message.qos)
        if self.intake is not None and message.topic.startswith("fs1/up/"):
            self.intake(client, live)
        for connection in self._route(message.topic):
            self._down(connection, live)

    def _route(self, topic: str) -> list[Connection]:
        found = self._routes.get(topic)
        if found is None:
            found = self._routes[topic] = [
                each
                for each in self._connections.values()
                if each.open and _wants(each.session.filters, topic)
            ]
        return found

    def _down(self, connection: Connection, message: Message) -> None:
        doubled = message.qos > 0 and self._loop.time() < connection.wire.doubles_until_s
        for _ in range(2 if doubled and self._rng.random() < 0.3 else 1):
            arrival_s = self._loop.time() + self._delay_s(connection.wire)
            connection.down_s = max(connection.down_s, arrival_s, connection.wire.down_held_s)
            connection.coming.append(message)
            self._loop.call_at(connection.down_s, self._deliver, connection, context=self._context)

    def _deliver(self, connection: Connection) -> None:
        # The oldest, not one of its own: timers of one instant come in any order.
        message = connection.coming.popleft()
        if not connection.broken:
            connection.end.arrived(connection, message)

    def _detach(self, connection: Connection) -> None:
        connection.open = False
        if self._connections.get(connection.session.client_id) is connection:
            del self._connections[connection.session.client_id]
        self._routes.clear()

    # What happens to connections

    def cut(self, wire: str, *, broker_s: float = 0.0, client_s: float | None = 0.0) -> None:
        """The connection breaks; the broker and the client (None: there is none any more) notice."""
        for connection in list(self._connections.values()):
            if connection.end.wire != wire or connection.broken:
                continue
            last_s = self._break(connection, arrive=True)
            self._later(max(broker_s, last_s), self._noticed, connection)
            if client_s is not None:
                self._later(client_s, connection.end.ended, connection, "cut")

    def _break(self, connection: Connection, *, arrive: bool) -> float:
        """Of what is under way, a first part arrives within the returned seconds."""
        connection.broken = True
        connection.left.set()
        self._routes.clear()
        under_way = [message for message in connection.under_way if message is not None]
        connection.under_way.clear()
        arriving = under_way[: self._rng.randint(0, len(under_way))] if arrive else []
        late_s = self._rng.choice((0.0, 0.0, self._rng.uniform(0.1, 8.0)))
        for message in arriving:
            self._later(late_s, self._at_broker, connection.session.client_id, message)
            late_s += 0.001
        return late_s

    def _noticed(self, connection: Connection) -> None:
        if not connection.open:
            return
        self._detach(connection)
        if connection.session.will is not None:
            self._at_broker(connection.session.client_id, connection.session.will)

    def go_down(self, *, wipe: bool) -> None:
        """The broker dies: no wills, every connection is gone, and what was retained, perhaps."""
        self.up = False
        self.intake = None
        for connection in list(self._connections.values()):
            self._break(connection, arrive=False)
            connection.open = False
            self._later(self._rng.uniform(0.0, 2.0), connection.end.ended, connection, "broker")
        self._connections.clear()
        self._routes.clear()
        if wipe:
            self._retained.clear()

    def go_up(self) -> None:
        self.up = True


def _wants(filters: Iterable[str], topic: str) -> bool:
    return any(topic_matches_sub(each, topic) for each in filters)
