"""What is a topic, what is a filter, and which filters match a topic.

Pure. The index is a trie, so that a publication costs what its own levels and its matches cost,
not what all the subscriptions of the fleet cost. It does not know who may use a topic.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

from paho.mqtt.matcher import MQTTMatcher

from farshore_center.broker.model import Refusal

S = TypeVar("S")


def topic_fault(topic: str, *, max_bytes: int, max_levels: int) -> Refusal | None:
    """Why ``topic`` can't be published to by anyone, or None.

    Expects a well-formed topic name (no wildcards, no NUL, not empty): what is not one is a
    protocol error and never gets this far.
    """
    if topic[0] == "$":
        return Refusal(reason="reserved_topic", detail="topics that begin with '$' are reserved")
    return _too_big(topic, max_bytes=max_bytes, max_levels=max_levels)


def filter_fault(topic_filter: str, *, max_bytes: int, max_levels: int) -> Refusal | None:
    """Why nobody can subscribe to ``topic_filter``, or None."""
    if topic_filter == "$share" or topic_filter.startswith("$share/"):
        return Refusal(
            reason="shared_subscription", detail="shared subscriptions are not supported here"
        )
    if topic_filter.startswith("$"):
        return Refusal(reason="reserved_topic", detail="topics that begin with '$' are reserved")
    if not is_filter(topic_filter):
        return Refusal(
            reason="bad_filter",
            detail="'+' must fill a whole level, '#' the whole last level, and neither be empty",
        )
    return _too_big(topic_filter, max_bytes=max_bytes, max_levels=max_levels)


def _too_big(text: str, *, max_bytes: int, max_levels: int) -> Refusal | None:
    # A str of n characters has n bytes or more, so the cheap test decides nearly always.
    if len(text) * 4 > max_bytes and len(text.encode()) > max_bytes:
        return Refusal(reason="topic_too_long", detail=f"expected {max_bytes} bytes or fewer")
    if text.count("/") >= max_levels:
        return Refusal(reason="topic_too_deep", detail=f"expected {max_levels} levels or fewer")
    return None


def is_topic(topic: str) -> bool:
    """Whether this is a topic name as MQTT 3.1.1 defines it (4.7)."""
    return bool(topic) and not any(mark in topic for mark in "+#\0")


def is_filter(topic_filter: str) -> bool:
    """Whether this is a topic filter as MQTT 3.1.1 defines it (4.7.1)."""
    if not topic_filter or "\0" in topic_filter:
        return False
    *before, last = topic_filter.split("/")
    if "#" in topic_filter and (any("#" in level for level in before) or last.strip("#")):
        return False
    return last.count("#") <= 1 and all(
        "+" not in level or level == "+" for level in [*before, last]
    )


class SubscriptionIndex(Generic[S]):
    """Who subscribed to which filter, at which QoS; answers who gets a topic.

    The trie is paho's ``MQTTMatcher``. It yields one value a filter, recursively, and already
    keeps a wildcard in the first level away from topics that begin with ``$`` (MQTT-4.7.2-1);
    its depth is bounded by ``max_topic_levels``. Subscribers are told apart by identity of their
    object, never by client id: what an older connection takes along is its own.
    """

    def __init__(self) -> None:
        self._matcher = MQTTMatcher()
        self._by_filter: dict[str, dict[S, int]] = {}
        self._by_subscriber: dict[S, set[str]] = {}

    def __len__(self) -> int:
        return sum(len(filters) for filters in self._by_subscriber.values())

    def count(self, subscriber: S) -> int:
        return len(self._by_subscriber.get(subscriber, ()))

    def holds(self, subscriber: S, topic_filter: str) -> bool:
        return topic_filter in self._by_subscriber.get(subscriber, ())

    def add(self, subscriber: S, topic_filter: str, qos: int) -> None:
        """Subscribe; a second time replaces the QoS (MQTT-3.8.4-3)."""
        subscribers = self._by_filter.get(topic_filter)
        if subscribers is None:
            subscribers = self._by_filter[topic_filter] = {}
            self._matcher[topic_filter] = subscribers
        subscribers[subscriber] = qos
        self._by_subscriber.setdefault(subscriber, set()).add(topic_filter)

    def remove(self, subscriber: S, topic_filter: str) -> None:
        """Unsubscribe; what was not subscribed changes nothing."""
        filters = self._by_subscriber.get(subscriber)
        if filters is None or topic_filter not in filters:
            return
        filters.remove(topic_filter)
        if not filters:
            del self._by_subscriber[subscriber]
        subscribers = self._by_filter[topic_filter]
        del subscribers[subscriber]
        if not subscribers:
            del self._by_filter[topic_filter]
            del self._matcher[topic_filter]

    def remove_all(self, subscriber: S) -> None:
        for topic_filter in tuple(self._by_subscriber.get(subscriber, ())):
            self.remove(subscriber, topic_filter)

    def match(self, topic: str) -> dict[S, int]:
        """Everyone who gets ``topic``, once each, with the highest QoS of their filters."""
        found: dict[S, int] = {}
        matches: Iterator[dict[S, int]] = self._matcher.iter_match(topic)
        for subscribers in matches:
            if not found:
                found = dict(subscribers)
                continue
            for subscriber, qos in subscribers.items():
                if found.get(subscriber, -1) < qos:
                    found[subscriber] = qos
        return found
