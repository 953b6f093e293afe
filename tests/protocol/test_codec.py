"""Whatever bytes come in: a message, or a MessageError that says why not."""

import json
from typing import Any

import pytest
from farshore_protocol.codec import MAX_MESSAGE_BYTES, convert, decode, encode
from farshore_protocol.commands import Command, CommandReport
from farshore_protocol.errors import LocalProtocolError, MessageError
from farshore_protocol.messages import (
    Birth,
    CenterStateMessage,
    ErrorMessage,
    Event,
    FactsReport,
    Heartbeat,
    Presence,
    TimeAnswer,
    TimeRequest,
)
from farshore_protocol.stream import Ack, StreamAck
from farshore_protocol.telemetry import TelemetryBatch
from hypothesis import example, given
from hypothesis import strategies as st

ENVELOPE: dict[str, Any] = {
    "epoch": "e1",
    "seq": 7,
    "boot": "b1",
    "up_ms": 5,
    "ts": 1_763_830_000_000,
}
GOOD: list[tuple[type[Any], dict[str, Any]]] = [
    (Presence, {"state": "online", "boot": "b1", "conn": 17}),
    (
        Birth,
        {"protocol": 1, "agent_version": "0.1", "boot": "b1", "conn": 1, "up_ms": 5, "ts": 9}
        | {"group": "eu", "labels": {"a": "b"}, "capabilities": {"verbs": ["ping"]}}
        | {"streams": {"metrics": {"epoch": "e1", "head": 9, "records": 2}}, "revisions": {"c": 1}}
        | {"center": ["db", "c1", 5]},
    ),
    (
        Heartbeat,
        {"boot": "b1", "conn": 1, "up_s": 1.5, "offset_ms": -3.25}
        | {"queue": {"metrics": {"records": 1, "bytes": 2, "head": 3}}},
    ),
    (TimeRequest, {"boot": "b1", "up_ms": 5, "ts": 9}),
    (TimeAnswer, {"boot": "b1", "up_ms": 5, "ts": 9, "received_ms": 10, "sent_ms": 11}),
    (Event, ENVELOPE | {"data": {"free": [1, {"form": None}]}}),
    (FactsReport, ENVELOPE | {"digest": "sha256:00", "facts": {"cpu": {"count": 4}}}),
    (TelemetryBatch, ENVELOPE | {"dt": [0, 5000], "m": {"cpu.percent": [3.5, None]}}),
    (CenterStateMessage, {"state": "online", "epoch": "c1", "rate": 5, "hold_s": 2}),
    (ErrorMessage, {"topic": "fs1/x", "reason": "bad_topic", "detail": "no", "at": 4}),
    (Command, {"id": "c-1", "args": {"argv": ["ls"]}, "ttl_s": 60, "timeout_s": 30, "iat": 4}),
    (
        CommandReport,
        ENVELOPE
        | {"id": "c-1", "verb": "exec", "state": "failed", "at": 4, "via": [["received", 3]]}
        | {"output": [{"offset": 0, "stream": "stdout", "text": "x"}], "result": {"code": 1}}
        | {"error": {"code": "x", "message": "y"}},
    ),
    (Ack, {"metrics": {"epoch": "e1", "ranges": [[1, 99], [102, 110]], "resend": [[100, 101]]}}),
    (Ack, {"events": {"epoch": "e1", "resend": [[1, 2]], "because": "restored", "head": 9}}),
    (Ack, {"events": {"epoch": "e1", "ranges": [[1, 2]], "center": ["db", "c1", 5]}}),
]
KINDS = st.sampled_from([kind for kind, _ in GOOD])
TOO_BIG = 10**30
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**60, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def names(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


def outcome(kind: type[Any], payload: bytes) -> Any:
    """The message, or None after a MessageError; any other exception is the test's failure."""
    try:
        message = decode(kind, payload)
    except MessageError:
        return None
    encode(message)
    return message


@pytest.mark.parametrize(("kind", "value"), GOOD, ids=names)
def test_a_message_survives_the_way_there_and_back(kind: type[Any], value: dict[str, Any]) -> None:
    message = decode(kind, json.dumps(value).encode())
    assert decode(kind, encode(message)) == message
    assert convert(kind, value) == message


@pytest.mark.parametrize(("kind", "value"), GOOD[:-3], ids=names)
def test_unknown_fields_are_ignored(kind: type[Any], value: dict[str, Any]) -> None:
    newer = value | {"from_the_future": {"a": [1, TOO_BIG]}}
    assert decode(kind, json.dumps(newer).encode()) == convert(kind, value)


@given(KINDS, st.binary(max_size=200))
@example(Command, b"")
@example(Command, b'{"args":{"\xff":1}}')
@example(Command, b'{"unknown":"\xff"}')
@example(Event, b"\xef\xbb\xbf{}")
def test_arbitrary_bytes(kind: type[Any], payload: bytes) -> None:
    outcome(kind, payload)


@given(KINDS, JSON)
def test_arbitrary_json(kind: type[Any], value: Any) -> None:
    outcome(kind, json.dumps(value).encode())


@given(st.sampled_from(GOOD[:-3]), st.data())
def test_a_field_of_another_type_or_a_torn_message(
    good: tuple[type[Any], dict[str, Any]], data: st.DataObject
) -> None:
    kind, value = good
    field = data.draw(st.sampled_from(sorted(value)))
    outcome(kind, json.dumps(value | {field: data.draw(JSON)}).encode())
    whole = json.dumps(value).encode()
    torn = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert outcome(kind, torn) is None


def fields_of(value: dict[str, Any]) -> list[str]:
    return [name for name, content in value.items() if type(content) in (int, float)]


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [(kind, value, field) for kind, value in GOOD[:-3] for field in fields_of(value)],
    ids=names,
)
def test_no_number_field_takes_what_no_store_can_hold(
    kind: type[Any], value: dict[str, Any], field: str
) -> None:
    is_float = (kind, field) in {(Heartbeat, "offset_ms"), (CenterStateMessage, "rate")} | {
        (CenterStateMessage, "hold_s"),
        (Heartbeat, "up_s"),
    }
    for number in (TOO_BIG, 2**53, 10**400):
        message = outcome(kind, json.dumps(value | {field: number}).encode())
        assert message is None or is_float, f"{field} took {number}"


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param(str(TOO_BIG), id="an integer beyond 64 bits"),
        pytest.param("9" * 5000, id="an integer of 5000 digits"),
        pytest.param("1e999", id="a float beyond its range"),
        pytest.param('"\\ud800"', id="half a surrogate pair"),
        pytest.param("[" * 300 + "]" * 300, id="deeper than can be encoded"),
        pytest.param("[" * 40_000 + "]" * 40_000, id="deeper than the stack"),
        pytest.param('{"a":' * 9_000 + "1" + "}" * 9_000, id="deep objects"),
        pytest.param("NaN", id="not a number"),
    ],
)
@pytest.mark.parametrize("field", ["data", "unknown"])
def test_free_form_takes_nothing_that_could_not_be_sent_on(field: str, inside: str) -> None:
    text = json.dumps(ENVELOPE)[:-1] + f', "{field}": {{"x": {inside}}}}}'
    message = outcome(Event, text.encode())
    assert message is None or (field == "unknown" and message.data == {})


@pytest.mark.parametrize(
    ("kind", "payload", "reason", "detail"),
    [
        (Presence, b'{"state":"asleep","boot":"b","conn":1}', "bad_message", "$.state"),
        (Presence, b'{"state":"online","boot":"b","conn":0}', "bad_message", "$.conn"),
        (Presence, b'{"state":"online","boot":"","conn":1}', "bad_message", "$.boot"),
        (Presence, b'{"state":"online","boot":"b"}', "bad_message", "`conn`"),
        (Birth, b'{"labels":{"a":1}}', "bad_message", "$.labels[...]"),
        (Command, b'{"id":"Capital"}', "bad_message", "$.id"),
        (Command, b'{"id":"line\\n"}', "bad_message", "$.id"),
        (Command, b'{"ttl_s":0}', "bad_message", "$.ttl_s"),
        (Command, b"[]", "bad_message", "Expected `object`"),
        (Command, b"{", "bad_json", "truncated"),
        (Ack, b'{"metrics":{"epoch":"e","ranges":[[0,1]]}}', "bad_message", "ranges[0][0]"),
    ],
)
def test_an_error_names_the_field(
    kind: type[Any], payload: bytes, reason: str, detail: str
) -> None:
    with pytest.raises(MessageError) as caught:
        decode(kind, payload)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert caught.value.detail.startswith(kind.__name__)


@pytest.mark.parametrize("field", ["seq", "up_ms"])
@pytest.mark.parametrize("number", [-1, 2**53, 1.5, "1", None, True])
def test_the_envelope_counts_only_in_whole_numbers_that_all_hold_exactly(
    field: str, number: object
) -> None:
    assert outcome(Event, json.dumps(ENVELOPE | {field: number}).encode()) is None


@pytest.mark.parametrize(
    ("change", "ok"),
    [
        ({"seq": 0}, False),
        ({"seq": 1}, True),
        ({"seq": 2**53 - 1}, True),
        ({"up_ms": 0}, True),
        ({"ts": -1}, True),  # a clock may be wrong
        ({"epoch": ""}, False),
        ({"epoch": "e" * 64}, True),
        ({"epoch": "e" * 65}, False),
        ({"boot": "b" * 65}, False),
        ({"hist": 1}, False),
    ],
)
def test_the_limits_of_the_envelope(change: dict[str, Any], ok: bool) -> None:
    message = outcome(Event, json.dumps(ENVELOPE | change).encode())
    assert (message is not None) == ok


def test_size_is_the_first_thing_looked_at() -> None:
    fits = b"{" + b" " * (MAX_MESSAGE_BYTES - 1)
    assert len(fits) == MAX_MESSAGE_BYTES
    for payload, reason in ((fits, "bad_json"), (fits + b"}", "too_large")):
        with pytest.raises(MessageError) as caught:
            decode(Presence, payload)
        assert caught.value.reason == reason
    with pytest.raises(MessageError, match="expected 1 or fewer"):
        decode(Presence, b"{}", limit_bytes=1)


@pytest.mark.parametrize("value", [{1: 2}, {"x": 2**70}, {"x": object()}, {"x": "\ud800"}])
def test_what_we_can_not_encode_is_our_own_fault(value: object) -> None:
    with pytest.raises(LocalProtocolError, match="JSON"):
        encode(value)


def test_convert_names_the_field_too() -> None:
    with pytest.raises(MessageError, match="epoch"):
        convert(StreamAck, {"ranges": []})
