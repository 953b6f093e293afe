"""The access rule of ``--dev``, as a truth table."""

import pytest
from farshore_center.broker import Client, DevGate

GATE = DevGate()


def client(client_id: str, *, will_topic: str | None = None) -> Client:
    return Client(
        client_id=client_id,
        username=None,
        will_topic=will_topic,
        remote="127.0.0.1:1",
        transport="tcp",
    )


NODE = client("pi-17", will_topic="fs1/up/pi-17/presence")
OPERATOR = client("laptop")
SCRIPT = client("pi-17")
"""A person's script that plays the node: no will."""
IMPOSTOR = client("laptop", will_topic="fs1/up/pi-17/presence")
"""A will on another's presence makes no node."""
LEVELS = client("a/b")
"""A client id that looks like two levels."""


@pytest.mark.parametrize(
    ("who", "topic", "allowed"),
    [
        (NODE, "fs1/up/pi-17/presence", True),
        (NODE, "fs1/up/pi-17/dev/plc/tel/host", True),
        (NODE, "fs1/up/pi-18/birth", False),
        (NODE, "fs1/up/pi-17", False),
        (NODE, "fs1/up/pi-170/birth", False),
        (NODE, "fs1/down/pi-17/cmd/ping", False),
        (NODE, "fs1/group/all/cmd/ping", False),
        (NODE, "fs1/center", False),
        (NODE, "other", False),
        (OPERATOR, "fs1/down/pi-17/cmd/ping", True),
        (OPERATOR, "fs1/group/eu~hamburg/cmd/ping", True),
        (OPERATOR, "fs1/group/all/cmd/ping", True),
        (OPERATOR, "hello", True),
        (OPERATOR, "fs2/anything", True),
        (OPERATOR, "fs1/up/laptop/birth", True),
        (OPERATOR, "fs1/up/pi-17/presence", False),
        (OPERATOR, "fs1/center", False),
        (OPERATOR, "fs1/center/x", False),
        (OPERATOR, "fs1/else", False),
        (OPERATOR, "fs1", False),
        (OPERATOR, "$SYS/x", False),
        (SCRIPT, "fs1/up/pi-17/birth", True),
        (SCRIPT, "fs1/down/pi-18/cmd/ping", True),
        (IMPOSTOR, "fs1/up/pi-17/presence", False),
    ],
)
def test_who_may_publish_where(who: Client, topic: str, allowed: bool) -> None:
    refusal = GATE.may_publish(who, topic)
    assert (refusal is None) is allowed
    assert refusal is None or refusal.reason == "foreign_prefix"


@pytest.mark.parametrize(
    "topic",
    [
        "fs1/group/eu/hamburg/cmd/ping",
        "fs1/group/eu/cmd",
        "fs1/group//cmd/ping",
        "fs1/group/eu/ping",
        "fs1/group/eu/cmds/ping",
    ],
)
def test_a_group_command_that_nobody_hears_is_refused_with_how_to_write_it(topic: str) -> None:
    refusal = GATE.may_publish(OPERATOR, topic)
    assert refusal is not None
    assert refusal.reason == "bad_topic"
    assert "fs1/group/<path>/cmd/<verb>" in refusal.detail
    assert "eu~hamburg" in refusal.detail


@pytest.mark.parametrize(
    ("who", "topic_filter", "allowed"),
    [
        (NODE, "fs1/down/pi-17/#", True),
        (NODE, "fs1/down/pi-17/cmd/+", True),
        (NODE, "fs1/group/all/cmd/+", True),
        (NODE, "fs1/group/eu~hamburg/cmd/+", True),
        (NODE, "fs1/center", True),
        (NODE, "fs1/down/pi-18/#", False),
        (NODE, "fs1/down/+/#", False),
        (NODE, "fs1/down/#", False),
        (NODE, "fs1/+/pi-17/#", False),
        (NODE, "fs1/up/pi-17/#", False),
        (NODE, "fs1/center/#", False),
        (NODE, "#", False),
        (OPERATOR, "#", True),
        (OPERATOR, "fs1/up/#", True),
        (OPERATOR, "fs1/down/pi-17/#", True),
        (OPERATOR, "$share/g/fs1/up/#", False),
        (OPERATOR, "$SYS/#", False),
        (NODE, "$share/g/fs1/down/pi-17/#", False),
        (SCRIPT, "fs1/down/#", True),
    ],
)
def test_who_may_subscribe_to_what(who: Client, topic_filter: str, allowed: bool) -> None:
    assert (GATE.may_subscribe(who, topic_filter) is None) is allowed


@pytest.mark.parametrize(
    ("client_id", "allowed"),
    [
        ("pi-17", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("Pi", False),
        ("-a", False),
        ("", False),
    ],
)
def test_a_node_has_a_name_of_the_wire(client_id: str, allowed: bool) -> None:
    node = client(client_id, will_topic=f"fs1/up/{client_id}/presence")
    refusal = GATE.admit(node, None)
    assert (refusal is None) is allowed
    assert refusal is None or refusal.reason == "bad_client_id"


@pytest.mark.parametrize("client_id", ["Any Name At All", "ünïcode", "a/b"])
def test_an_operator_is_admitted_under_any_name(client_id: str) -> None:
    assert GATE.admit(client(client_id), b"whatever") is None


def test_a_client_id_with_a_slash_gets_no_further_than_its_own_prefix() -> None:
    assert GATE.may_publish(LEVELS, "fs1/up/a/b") is not None
    assert GATE.may_publish(LEVELS, "fs1/up/a/presence") is not None


@pytest.mark.parametrize(
    ("topic", "kept"),
    [
        ("fs1/down/pi-1/cmd/reboot", False),
        ("fs1/group/eu~hamburg/cmd/ping", False),
        ("fs1/group/all/cmd/ping", False),
        ("fs1/down/pi-1/desired/config", True),
        ("other/down/x/cmd/y", True),
        ("other/topic", True),
        ("fs1", True),
    ],
)
def test_no_command_is_retained(topic: str, kept: bool) -> None:
    refusal = GATE.may_retain(OPERATOR, topic)
    assert (refusal is None) is kept
    if refusal is not None:
        assert refusal.reason == "retained_command"
        assert topic in refusal.detail
