"""What comes to the node over its link, each message to the part that it is for.

No message can end the agent, whatever it holds. It knows topics, not what the parts do with a message.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from farshore_protocol.codec import decode
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.link import Message
from farshore_protocol.messages import (
    UNKNOWN_NODE,
    CenterStateMessage,
    ErrorMessage,
    ProbeAnswer,
    TimeAnswer,
)
from farshore_protocol.messages import Presence as PresenceMessage
from farshore_protocol.stream import Ack
from farshore_protocol.topics import CenterState, Down, GroupCommand, Up, parse

from farshore_edge.commands.room import CommandRoom
from farshore_edge.config import ConfigService
from farshore_edge.outbox import Courier
from farshore_edge.presence import CenterMemory, Presence
from farshore_edge.tasks.service import TaskService
from farshore_edge.unheard import Unheard

log = logging.getLogger(__name__)

RETAINED = (
    "a retained command is not run, it would be at every connection; clear it: "
    "mosquitto_pub -r -n -t {topic}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The parts that messages are for."""

    commands: CommandRoom
    config: ConfigService
    tasks: TaskService
    presence: Presence
    courier: Courier
    center: CenterMemory
    unheard: Unheard


class Downlink:
    def __init__(self, listeners: Listeners) -> None:
        self._to = listeners
        self._acks: asyncio.Queue[Ack] = asyncio.Queue()
        link_test = listeners.commands.link_test
        self._kinds: dict[str, Callable[[bytes], None]] = {
            "ack": lambda payload: self._acks.put_nowait(decode(Ack, payload)),
            "time": lambda payload: self._to.presence.time_answered(decode(TimeAnswer, payload)),
            "probe": lambda payload: link_test.answered(decode(ProbeAnswer, payload), len(payload)),
            "error": lambda payload: self._refused(decode(ErrorMessage, payload)),
        }

    def received(self, message: Message) -> None:
        """Raises nothing."""
        try:
            self._dispatch(message)
        except RemoteProtocolError as exc:
            self._to.unheard.note(message.topic, exc.reason, exc.detail)
        except Exception:  # a message must not end the agent, whatever it holds
            log.exception("a message could not be handled", extra={"topic": message.topic})

    def _dispatch(self, message: Message) -> None:
        to = self._to
        match parse(message.topic):
            case Down(kind="cmd") | GroupCommand() if message.retain:
                # It lay at a broker: nobody knows how long.
                to.unheard.note(message.topic, "retained", RETAINED.format(topic=message.topic))
            case Down(kind="cmd", name=str(verb)):
                to.commands.service.take(verb, message.payload)
            case GroupCommand(group=group, verb=verb):
                to.commands.service.take(verb, message.payload, group)
            case Down(kind="desired", name="config"):
                if message.retain:  # it lay at a broker: the center sends what it means itself
                    log.warning("a retained configuration is ignored")
                else:
                    to.config.take(message.payload)
            case Down(kind="desired", name="tasks"):
                if message.retain:
                    log.warning("a retained document of tasks is ignored")
                else:
                    to.tasks.take(message.payload)
            case Down(kind="lease"):
                if not message.retain:
                    to.tasks.take_lease(message.payload)
            case Down(kind="log", name=str(name)):
                if not message.retain:
                    to.commands.tails.renew(name, message.payload)
            case Down(kind=kind) if kind in self._kinds:
                self._kinds[kind](message.payload)
            case CenterState():
                word = decode(CenterStateMessage, message.payload)
                to.courier.center_wishes(rate=word.rate, hold_s=word.hold_s)
                to.courier.center_is(word.state == "online")
                if word.state == "online" and to.presence.saw_center(
                    word.epoch, live=not message.retain
                ):
                    to.tasks.birth_said()
            case Up(kind="presence") if not message.retain:  # what was said since "online"
                to.presence.saw_own(decode(PresenceMessage, message.payload))

    def _refused(self, word: ErrorMessage) -> None:
        if word.reason == UNKNOWN_NODE:
            log.info("the center does not know this node; it says its birth again")
            self._to.presence.say_birth()
            self._to.tasks.birth_said()
            return
        log.warning(
            "the center refused a message",
            extra={"topic": word.topic, "reason": word.reason, "detail": word.detail},
        )

    async def take_acks(self) -> None:
        """Handles acknowledgements, in their order; runs until it is cancelled."""
        while True:
            ack = await self._acks.get()
            try:
                await self._to.courier.acknowledged(ack)
                for word in ack.values():
                    if word.center is not None:
                        await self._to.center.obeyed(word.center, answer=word.head is not None)
            except Exception:  # what it holds was not understood: the center says it again
                log.exception("an acknowledgement could not be handled")
