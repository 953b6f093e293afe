"""Where a publication goes: the registry of clients, subscriptions and retained messages.

The one path that every publication takes, whoever sent it: topic rules, gate, ingest, retained
store, receivers. It holds no sockets and decides nothing about a connection's life.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import structlog

from farshore_center.broker.errors import BadTopicError
from farshore_center.broker.model import (
    BrokerSettings,
    Client,
    Gate,
    Ingest,
    Publication,
    Refusal,
    Rejections,
)
from farshore_center.broker.outgoing import Outbound
from farshore_center.broker.retained import Retained, RetainedStore
from farshore_center.broker.topics import (
    SubscriptionIndex,
    filter_fault,
    is_filter,
    is_topic,
    topic_fault,
)

log = structlog.get_logger(__name__)


class Subscriber(Protocol):
    """Who can be subscribed. ``deliver`` never waits and never raises."""

    def deliver(self, message: Outbound, qos: int) -> None: ...


class LocalSubscriber:
    """A subscription from within the process."""

    def __init__(self, handler: Callable[[Publication], None]) -> None:
        self._handler = handler

    def deliver(self, message: Outbound, qos: int) -> None:
        publication = Publication(
            client=message.client,
            topic=message.topic,
            payload=message.payload,
            qos=qos,
            retain=message.retain,
        )
        try:
            self._handler(publication)
        except Exception:
            # One reader's defect is not the sender's fault, nor the other readers'.
            log.exception("mqtt local handler failed", topic=message.topic)


class Hub:
    """The broker without its connections."""

    def __init__(
        self, settings: BrokerSettings, *, gate: Gate, ingest: Ingest, rejected: Rejections
    ) -> None:
        self.settings = settings
        self.gate = gate
        self.index: SubscriptionIndex[Subscriber] = SubscriptionIndex()
        self.retained = RetainedStore(
            max_messages=settings.max_retained_messages, max_bytes=settings.max_retained_bytes
        )
        self.refused: Counter[str] = Counter()
        self.received = 0
        self._ingest = ingest
        self._rejected = rejected

    def refuse(
        self, client: Client | None, topic: str | None, payload: bytes, refusal: Refusal
    ) -> None:
        self.refused[refusal.reason] += 1
        try:
            self._rejected(client, topic, payload, refusal)
        except Exception:
            log.exception("mqtt rejection handler failed", reason=refusal.reason)

    async def accept(self, client: Client, publication: Publication) -> None:
        """A client's publication, or its will. Raises what ``ingest`` raises, and nothing else.

        A refused one returns like an accepted one: MQTT 3.1.1 has no negative acknowledgement,
        and its sender must not send it again.
        """
        self.received += 1
        topic = publication.topic
        refusal = topic_fault(
            topic,
            max_bytes=self.settings.max_topic_bytes,
            max_levels=self.settings.max_topic_levels,
        ) or self.gate.may_publish(client, topic)
        if refusal is not None:
            self.refuse(client, topic, publication.payload, refusal)
            return
        await self._ingest(publication)
        self.route(publication)

    def publish(self, publication: Publication) -> None:
        """The center's own publication: no gate, no ingest."""
        topic = publication.topic
        if not is_topic(topic) or topic.startswith("$"):
            raise BadTopicError(f"topic {topic[:200]!r}: expected one without wildcards and '$'")
        self.route(publication)

    def route(self, publication: Publication) -> None:
        kept_out = self._kept_out(publication)
        if kept_out is not None:
            self.refuse(publication.client, publication.topic, publication.payload, kept_out)
        elif publication.retain and not self._retain(publication):
            self.refuse(
                publication.client,
                publication.topic,
                publication.payload,
                Refusal(
                    reason="retained_full", detail="delivered, but there was no room to retain"
                ),
            )
        receivers = self.index.match(publication.topic)
        if not receivers:
            return
        # Whoever is subscribed already gets it as live, never as retained (MQTT-3.3.1-9).
        message = Outbound(
            publication.topic, publication.payload, retain=False, client=publication.client
        )
        for subscriber, qos in receivers.items():
            subscriber.deliver(message, min(qos, publication.qos))

    def subscribe_refusal(self, client: Client, topic_filter: str) -> Refusal | None:
        return filter_fault(
            topic_filter,
            max_bytes=self.settings.max_topic_bytes,
            max_levels=self.settings.max_topic_levels,
        ) or self.gate.may_subscribe(client, topic_filter)

    def subscribe_local(
        self, topic_filter: str, handler: Callable[[Publication], None]
    ) -> Callable[[], None]:
        if not is_filter(topic_filter) or topic_filter.startswith("$"):
            raise BadTopicError(f"filter {topic_filter[:200]!r}: expected a filter without '$'")
        subscriber = LocalSubscriber(handler)
        self.index.add(subscriber, topic_filter, 1)
        for message in tuple(self.retained.match(topic_filter)):
            outbound = Outbound(message.topic, message.payload, retain=True, client=message.client)
            subscriber.deliver(outbound, message.qos)
        return lambda: self.index.remove_all(subscriber)

    def _kept_out(self, publication: Publication) -> Refusal | None:
        """Why a client's message must not be retained; an empty one clears, and always may."""
        if not publication.retain or not publication.payload or publication.client is None:
            return None
        return self.gate.may_retain(publication.client, publication.topic)

    def _retain(self, publication: Publication) -> bool:
        return self.retained.put(
            Retained(
                topic=publication.topic,
                payload=publication.payload,
                qos=min(publication.qos, 1),
                client=publication.client,
            )
        )
