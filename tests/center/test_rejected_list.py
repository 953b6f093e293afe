"""The list of the rejected: bounded, counted, quiet in the log, and it tells the one who wrote."""

import json
from typing import Any

import structlog
from farshore_center.ingest.rejected import ERRORS_PER_MINUTE, KEPT, SENDERS_KEPT, RejectedList
from farshore_protocol.clock import ManualClock
from farshore_protocol.link import Message


class Desk:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.told: list[Message] = []
        self.list = RejectedList(
            now_ms=self.clock.now_ms, now_s=self.clock.monotonic_s, tell=self.told.append
        )

    def add(self, **more: Any) -> None:
        self.list.add(**{"reason": "bad_json", "detail": "d", "payload": b"x", **more})


def test_the_last_thousand_are_kept_and_all_are_counted() -> None:
    desk = Desk()
    for i in range(KEPT + 5):
        desk.add(detail=str(i), reason="odd" if i % 2 else "even")
    items = desk.list.items()
    assert (len(items), items[0].detail, items[-1].detail) == (KEPT, "5", str(KEPT + 4))
    assert desk.list.counts.total() == KEPT + 5
    assert [item.number for item in items] == list(range(6, KEPT + 6))


def test_one_line_in_the_log_for_each_sender_and_minute() -> None:
    desk = Desk()
    with structlog.testing.capture_logs() as lines:
        for _ in range(10):
            desk.add(node="pi-1", client_id="pi-1")
        desk.add(node="pi-2", client_id="pi-2")
        assert [line["node"] for line in lines] == ["pi-1", "pi-2"]
        desk.clock.advance(60)
        desk.add(node="pi-1", client_id="pi-1")
    assert lines[-1]["more_since_last_line"] == 9
    assert lines[-1]["log_level"] == "warning"


def test_the_writer_is_told_and_not_the_victim() -> None:
    desk = Desk()
    desk.add(node="victim", client_id="villain", topic="fs1/up/victim/birth")
    desk.add(node="pi-1", client_id=None, topic="fs1/up/pi-1/birth")
    desk.add(node="victim", client_id="No/Name", topic="fs1/up/victim/birth")
    assert [message.topic for message in desk.told] == [
        "fs1/down/villain/error",
        "fs1/down/pi-1/error",
    ]
    word = json.loads(desk.told[0].payload)
    assert (word["topic"], word["reason"]) == ("fs1/up/victim/birth", "bad_json")


def test_a_sender_is_told_a_bounded_number_of_times() -> None:
    desk = Desk()
    for _ in range(ERRORS_PER_MINUTE + 10):
        desk.add(node="pi-1", client_id="pi-1")
    assert len(desk.told) == ERRORS_PER_MINUTE
    desk.clock.advance(61)
    desk.add(node="pi-1", client_id="pi-1")
    assert len(desk.told) == ERRORS_PER_MINUTE + 1


def test_what_is_kept_of_a_message_and_of_senders_is_bounded() -> None:
    desk = Desk()
    desk.add(payload=b"\xff" * 100_000, detail="d" * 100_000, topic="t" * 100_000)
    (item,) = desk.list.items()
    assert (len(item.payload_start), item.payload_bytes) == (200, 100_000)
    assert (len(item.detail), len(item.topic or "")) == (1000, 300)
    for i in range(SENDERS_KEPT + 50):
        desk.list._sender(f"s{i}")
    assert len(desk.list._senders) == SENDERS_KEPT
