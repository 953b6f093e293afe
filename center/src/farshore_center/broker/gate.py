"""``DevGate``: who may do what at a center that runs with ``--dev``.

Pure, and without passwords: it is for a loopback address. It keeps the two-prefix rule all the
same, so that a node that breaks it is found at a desk and not in the field.
"""

from farshore_protocol.names import is_name
from farshore_protocol.topics import PREFIX, CenterState, Up

from farshore_center.broker.model import Client, Refusal

_CENTER = CenterState().build()
_UP = f"{PREFIX}/up"
_DOWN = f"{PREFIX}/down"
_GROUP = f"{PREFIX}/group"
_GROUP_COMMAND = (PREFIX, "group", "<path>", "cmd", "<verb>")


class DevGate:
    """A client whose will is its own presence is a node; any other is an operator."""

    def admit(self, client: Client, _password: bytes | None) -> Refusal | None:
        if is_node(client) and not is_name(client.client_id):
            return Refusal(
                reason="bad_client_id",
                detail=f"node {client.client_id[:80]!r}: expected 1 to 64 of a-z, 0-9, '_', '-'",
            )
        return None

    def may_publish(self, client: Client, topic: str) -> Refusal | None:
        if topic.startswith(f"{_UP}/{client.client_id}/"):
            return None
        if is_node(client):
            return _foreign(client, topic, f"{_UP}/{client.client_id}/…")
        if topic.startswith(f"{_GROUP}/"):
            return _unheard(client, topic)
        if topic.startswith(f"{_DOWN}/") or _is_outside(topic):
            return None
        return _foreign(client, topic, f"{_DOWN}/…, {_GROUP}/…, or a topic outside {PREFIX}/")

    def may_retain(self, client: Client, topic: str) -> Refusal | None:
        if topic.startswith((f"{_DOWN}/", f"{_GROUP}/")) and topic.split("/")[3:4] == ["cmd"]:
            return Refusal(
                reason="retained_command",
                detail=f"{client.client_id[:80]!r} on {topic[:200]!r}: delivered to who listens now, and "
                "not kept, since it would come again at every connection; expected it without retain (-r)",
            )
        return None

    def may_subscribe(self, client: Client, topic_filter: str) -> Refusal | None:
        if topic_filter.startswith("$"):
            return Refusal(
                reason="reserved_topic", detail="filters that begin with '$' are reserved"
            )
        if not is_node(client) or topic_filter == _CENTER:
            return None
        if topic_filter.startswith((f"{_DOWN}/{client.client_id}/", f"{_GROUP}/")):
            return None
        if topic_filter == client.will_topic:
            return None  # its own presence: it repairs a false word about itself
        own = f"{_DOWN}/{client.client_id}/…"
        return _foreign(client, topic_filter, f"{own}, {_GROUP}/… or {_CENTER}")


def is_node(client: Client) -> bool:
    """Whether a client speaks as a node: its will is its own presence."""
    return client.will_topic == Up(node=client.client_id, kind="presence").build()


def _is_outside(topic: str) -> bool:
    return topic != PREFIX and not topic.startswith((f"{PREFIX}/", "$"))


def _unheard(client: Client, topic: str) -> Refusal | None:
    """A topic below ``fs1/group/`` that no node can listen to: somebody has to be told."""
    levels = topic.split("/")
    if len(levels) == len(_GROUP_COMMAND) and levels[2] and levels[3] == "cmd":
        return None
    return Refusal(
        reason="bad_topic",
        detail=f"{client.client_id[:80]!r} on {topic[:200]!r}: reaches nobody; expected "
        f"{'/'.join(_GROUP_COMMAND)}, the path with '~' for '/' (eu~hamburg), or 'all'",
    )


def _foreign(client: Client, topic: str, expected: str) -> Refusal:
    return Refusal(
        reason="foreign_prefix",
        detail=f"{client.client_id[:80]!r} on {topic[:200]!r}: expected {expected}",
    )
