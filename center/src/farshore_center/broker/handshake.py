"""Who a CONNECT introduces, and whether it is let in.

Pure but for the gate that it asks. Nothing of the broker has been touched by then: a client that
is turned away never existed for the others, not even for its namesake.
"""

from collections.abc import Callable
from dataclasses import dataclass

from farshore_center.broker import codec
from farshore_center.broker.model import Client, Gate, Refusal, TransportName

_CODES = {"bad_client_id": codec.BAD_CLIENT_ID, "bad_credentials": codec.BAD_CREDENTIALS}


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedAway:
    """A CONNECT that is answered with ``code``, then closed."""

    client: Client
    refusal: Refusal

    @property
    def code(self) -> int:
        return _CODES.get(self.refusal.reason, codec.NOT_AUTHORIZED)


def introduce(
    connect: codec.Connect,
    *,
    remote: str,
    transport: TransportName,
    certificate: bytes | None,
    gate: Gate,
    new_id: Callable[[], str],
) -> Client | TurnedAway:
    """The client, or why it is none."""
    client = Client(
        client_id=connect.client_id or new_id(),
        username=connect.username,
        will_topic=connect.will.topic if connect.will else None,
        remote=remote,
        transport=transport,
        certificate=certificate,
    )
    if not connect.client_id and not connect.clean_session:
        detail = "an empty client id needs a clean session"  # MQTT-3.1.3-8
        return TurnedAway(client=client, refusal=Refusal(reason="bad_client_id", detail=detail))
    refusal = gate.admit(client, connect.password)
    return client if refusal is None else TurnedAway(client=client, refusal=refusal)
