"""Follows a log of a node for somebody: asks the node for it, hands its lines on, and asks again in
time for as long as somebody listens. It does not know HTTP.
"""

from collections.abc import AsyncGenerator, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.messages import LogLines, LogRenewal, log_name
from farshore_protocol.topics import Down

from farshore_center.api.problems import Problem
from farshore_center.commands.request import NewCommand, NodeChoice
from farshore_center.commands.service import CommandService
from farshore_center.commands.views import CommandView, TargetView
from farshore_center.events import EventLog
from farshore_center.events.select import EventFilter
from farshore_center.logs.relay import Listener, Relay

FOLLOW_S, RENEW_S = 60.0, 15.0
"""For how long the node is asked for, and how often: three renewals may be lost."""
ANSWER_S = 20.0
HEARTBEAT_S = 15.0
LISTENERS_MOST = 100
_LOOK_S = 1.0

Document = dict[str, Any]


class Downlink(Protocol):
    async def send(self, message: Message) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Which log of which node, and how much of its past; one of ``unit`` and ``path``."""

    node: str
    unit: str | None = None
    path: str | None = None
    lines: int = 100
    since: str | None = None
    grep: str | None = None

    @property
    def name(self) -> str:
        return log_name(unit=self.unit, path=self.path, grep=self.grep)

    def args(self) -> Document:
        """Of the verb ``logs``."""
        given = {"unit": self.unit, "path": self.path, "since": self.since, "grep": self.grep}
        some = {key: value for key, value in given.items() if value is not None}
        return {**some, "lines": self.lines, "follow": True, "follow_s": FOLLOW_S}


class LogService:
    def __init__(
        self,
        commands: CommandService,
        events: EventLog,
        downlink: Downlink,
        online: Callable[[], AbstractSet[str]],
        *,
        now_s: Callable[[], float],
        renew_s: float = RENEW_S,
    ) -> None:
        self._commands = commands
        self._events = events
        self._downlink = downlink
        self._online = online
        self._now_s = now_s
        self._renew_s = renew_s
        self.relay = Relay()

    async def follow(self, log: Log) -> tuple[Document, AsyncGenerator[Document | None, None]]:
        """What there is of it: the document ``start``, and those that follow; None is a sign of life.

        Raises Problem when the node can't be followed; whoever gets the generator closes it.
        """
        self._check(log)
        documents = self._documents(log)
        start = await anext(documents)  # from here on its end is the end of the listening
        assert start is not None  # noqa: S101 # it begins with a document
        return start, documents

    def _check(self, log: Log) -> None:
        if self.relay.closed:
            raise Problem(status=503, title="The center is stopping")
        if len(self.relay) >= LISTENERS_MOST:
            raise Problem(
                status=503,
                title="Too many listen",
                detail=f"{LISTENERS_MOST} live logs are open; close one, or try again later",
            )
        if log.node not in self._online():
            raise Problem(
                status=409,
                title="The node is offline",
                detail=f"{log.node} can't be followed now; what it had said is in no log here",
            )

    async def _start(self, log: Log, listener: Listener) -> Document:
        request = NewCommand(
            choice=NodeChoice(node=log.node),
            nodes=(log.node,),
            verb="logs",
            args=log.args(),
            ttl_s=ANSWER_S,
            by="logs",
        )
        made = await self._commands.create(request)
        view = await self._answer(made.id)
        target = (view.targets or [])[0]
        if target.target.state != "succeeded":
            raise _refused(view, target)
        result = orjson.loads(target.target.result or b"{}")
        if result.get("tail") is None:
            raise Problem(
                status=409,
                title="The node can't do it",
                detail=f"{log.node}: its agent is too old to be followed",
            )
        listener.begin(result["tail"], result["seq"])
        text = "".join(chunk.text for chunk in target.output)
        return {
            "kind": "start",
            "command": view.id,
            "source": result["source"],
            "topic": f"log/{result['name']}",
            "lines": text.split("\n")[:-1] if text else [],
        }

    async def _answer(self, command_id: str) -> CommandView:
        """The command at its end; it expires by itself."""
        with self._events.subscribe(EventFilter(command=command_id)) as subscription:
            while True:
                subscription.rearm()
                view = await self._commands.get(command_id)
                if view.done or self.relay.closed:
                    return view
                await subscription.news(_LOOK_S)

    async def _documents(self, log: Log) -> AsyncGenerator[Document | None, None]:
        with self.relay.listen(log.node, log.name) as listener:
            yield await self._start(log, listener)
            renewed_s = said_s = self._now_s()
            while not listener.closed:
                word = await listener.next(min(self._renew_s, HEARTBEAT_S))
                now_s = self._now_s()
                if word is not None:
                    said_s = now_s
                    yield _document(word, listener)
                    if word.end is not None:
                        return
                if now_s - renewed_s >= self._renew_s:
                    renewed_s = now_s
                    if log.node not in self._online():
                        yield {"kind": "end", "reason": "offline", "detail": None}
                        return
                    await self._downlink.send(_renewal(log))
                if now_s - said_s >= HEARTBEAT_S:
                    said_s = now_s
                    yield None
            yield {"kind": "end", "reason": "center_stopping", "detail": None}


def _renewal(log: Log) -> Message:
    topic = Down(node=log.node, kind="log", name=log.name).build()
    return Message(topic=topic, payload=encode(LogRenewal(follow_s=FOLLOW_S)))


def _document(word: LogLines, listener: Listener) -> Document:
    if word.end is not None:
        return {"kind": "end", "reason": word.end, "detail": word.detail}
    lost, listener.lost = listener.lost, 0
    return {
        "kind": "lines",
        "ts": word.ts,
        "lines": list(word.lines),
        "dropped": word.dropped,
        "lost": lost,
    }


def _refused(view: CommandView, target: TargetView) -> Problem:
    error = orjson.loads(target.target.error or b"null") or {}
    state = target.target.state
    why = error.get("message") or f"the command {view.id} is {state}"
    return Problem(
        status=504 if state == "expired" else 409,
        title="The node does not send it",
        detail=f"{target.target.node}: {why}",
        extra={"command": view.id, "state": state, "code": error.get("code")},
    )
