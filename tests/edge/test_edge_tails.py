"""Live logs: nothing twice, nothing missing without a number, never more than allowed, and an end."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from edge.edge_bench import eventually
from edge.test_edge_machine_verbs import Run, code
from farshore_edge.commands import tails as tails_module
from farshore_edge.commands.tails import Allowance, SourceFailedError, Tails, TooManyError, portions
from farshore_edge.commands.verbs import logs
from farshore_edge.tasks.outputs import Outputs, newest
from farshore_protocol.codec import MAX_MESSAGE_BYTES, decode, encode
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.link import Message
from farshore_protocol.messages import LogLines, log_name
from farshore_protocol.names import is_name
from farshore_protocol.topics import Up, parse
from hypothesis import given
from hypothesis import strategies as st


class Wire:
    """An uplink that keeps what it is given."""

    def __init__(self) -> None:
        self.connected, self.congested = True, False
        self.words: list[LogLines] = []
        self.names: list[str | None] = []

    def publish(self, message: Message) -> bool:
        topic = parse(message.topic)
        assert isinstance(topic, Up)
        assert (topic.node, topic.kind, message.qos, message.retain) == ("n1", "log", 0, False)
        assert len(message.payload) <= MAX_MESSAGE_BYTES
        self.names.append(topic.name)
        self.words.append(decode(LogLines, message.payload))
        return True

    def lines(self) -> list[str]:
        return [line for word in self.words for line in word.lines]

    def dropped(self) -> int:
        return sum(word.dropped for word in self.words)


class Script:
    """A source that says what the test tells it."""

    title = "a script"

    def __init__(self, *first: bytes) -> None:
        self._first = list(first)
        self.queue: asyncio.Queue[list[bytes] | None] = asyncio.Queue()
        self.closed = False

    async def first(self) -> list[bytes]:
        return self._first

    async def more(self) -> list[bytes]:
        found = await self.queue.get()
        if found is None:
            raise SourceFailedError("it is gone")
        return found

    async def close(self) -> None:
        self.closed = True


class Stage:
    def __init__(self, lines_per_s: int = 10_000, bytes_per_s: int = 10**6) -> None:
        self.now_s = 100.0
        self.wire = Wire()
        self.tails = Tails(
            node="n1",
            uplink=self.wire,
            now_ms=lambda: 5,
            monotonic_s=lambda: self.now_s,
            lines_per_s=lines_per_s,
            bytes_per_s=bytes_per_s,
        )

    async def follow(self, source: Any, name: str = "x", *, lines: int = 100, s: float = 60) -> Any:
        return await self.tails.follow(name, lambda: source, lease_s=s, lines=lines)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(tails_module, "FLUSH_S", 0.01)
    made = Stage()
    yield made
    await made.tails.stop()


async def test_a_second_follower_gets_what_was_said_and_nothing_twice(stage: Stage) -> None:
    source = Script(b"one", b"two")
    first = await stage.follow(source)
    assert (first.lines, first.seq) == ([b"one", b"two"], 0)
    source.queue.put_nowait([b"three"])
    await eventually(lambda: stage.wire.lines() == ["three"])
    second = await stage.follow(Script(b"never asked"), lines=2)
    assert (second.tail, second.lines, second.seq) == (first.tail, [b"two", b"three"], 1)
    source.queue.put_nowait([b"four"])
    await eventually(lambda: [w.seq for w in stage.wire.words] == [1, 2])
    assert (await stage.follow(source, lines=0)).lines == []


async def test_a_flood_is_cut_and_every_line_of_it_is_counted(stage: Stage) -> None:
    stage.tails.lines_per_s = 50
    source = Script()
    await stage.follow(source)
    source.queue.put_nowait([b"%d" % n for n in range(1000)])
    await eventually(lambda: len(stage.wire.lines()) + stage.wire.dropped() == 1000)
    assert stage.wire.lines() == [str(n) for n in range(50)]
    stage.now_s += 0.5
    source.queue.put_nowait([b"later"] * 100)
    await eventually(lambda: len(stage.wire.lines()) + stage.wire.dropped() == 1100)
    assert stage.wire.lines().count("later") == 25


async def test_bytes_are_bounded_as_well_and_one_long_line_is_cut(stage: Stage) -> None:
    stage.tails.bytes_per_s = 10_000
    source = Script()
    await stage.follow(source)
    source.queue.put_nowait([b"x" * 100_000, *[b"y" * 999] * 100])
    await eventually(lambda: len(stage.wire.lines()) + stage.wire.dropped() == 101)
    sizes = [len(line) for line in stage.wire.lines()]
    assert sizes[0] == tails_module.LINE_MAX_BYTES
    assert sum(size + 1 for size in sizes) <= 10_000


@pytest.mark.parametrize("trouble", ["congested", "disconnected"])
async def test_into_a_full_or_broken_link_nothing_is_said_and_it_is_counted(
    stage: Stage, trouble: str
) -> None:
    source = Script()
    await stage.follow(source)
    stage.wire.congested = trouble == "congested"
    stage.wire.connected = trouble != "disconnected"
    source.queue.put_nowait([b"a", b"b"])
    await eventually(source.queue.empty)
    tail, _ = stage.tails._tails["x"]
    await eventually(lambda: tail._dropped == 2)
    assert stage.wire.words == []
    stage.wire.congested, stage.wire.connected = False, True
    source.queue.put_nowait([b"c"])
    await eventually(lambda: stage.wire.lines() == ["c"])
    assert stage.wire.dropped() == 2
    assert (await stage.follow(source)).lines == [b"c"], "what nobody got is in no snapshot"


async def test_it_ends_when_nobody_asks_again_and_says_so(stage: Stage) -> None:
    source = Script()
    await stage.follow(source, s=30)
    stage.now_s += 29
    stage.tails.renew("x", b'{"follow_s": 30}')
    stage.now_s += 29
    source.queue.put_nowait([b"still"])
    await eventually(lambda: stage.wire.lines() == ["still"])
    stage.tails.renew("x", b'{"follow_s": 1}')  # asking for less takes nothing away
    assert stage.tails.names() == ["x"]
    stage.now_s += 2
    await eventually(lambda: stage.tails.names() == [])
    assert stage.wire.words[-1].end == "lease_over"
    assert source.closed
    stage.tails.renew("x", b"")
    assert (stage.wire.words[-1].end, stage.wire.words[-1].tail) == ("unknown", None)
    with pytest.raises(RemoteProtocolError):
        stage.tails.renew("x", b'{"follow_s": 0}')


async def test_a_source_that_fails_and_an_agent_that_stops_are_told(stage: Stage) -> None:
    failing, going = Script(), Script()
    await stage.follow(failing, "f")
    await stage.follow(going, "g")
    failing.queue.put_nowait(None)
    await eventually(lambda: failing.closed)
    assert (stage.wire.words[-1].end, stage.wire.words[-1].detail) == (
        "source_failed",
        "it is gone",
    )
    await stage.tails.stop()
    assert stage.wire.words[-1].end == "agent_stopped"
    assert going.closed


async def test_there_are_only_so_many_at_once(stage: Stage) -> None:
    for n in range(tails_module.TAILS_MOST):
        await stage.follow(Script(), f"t{n}")
    with pytest.raises(TooManyError):
        await stage.follow(Script(), "one-more")
    await stage.follow(Script(), "t0")


# Files


@pytest.fixture
def run(tmp_path: Path) -> Run:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "agent").mkdir()
    return Run(root)


Say = Callable[..., Awaitable[Any]]


async def test_a_file_is_followed_over_its_rotation_and_its_truncation(
    stage: Stage, run: Run
) -> None:
    file = run.root / "a.log"
    file.write_text("old 1\nold 2\npart")
    handler = logs.logs(run.folders, stage.tails)
    outcome = await run(handler, "logs", path=str(file), lines=1, follow=True)
    assert outcome.result is not None
    name = log_name(unit=None, path=str(file), grep=None)
    assert (outcome.result["name"], outcome.result["lines"], outcome.result["seq"]) == (name, 1, 0)
    assert run.text() == "old 2\n"

    with file.open("a") as out:
        out.write("ial\nnew\n")
    await eventually(lambda: stage.wire.lines() == ["partial", "new"])
    with file.open("a") as out:
        out.write("last words")
    file.rename(run.root / "a.log.1")
    await eventually(lambda: not file.exists())
    file.write_text("after the rotation\n")
    await eventually(lambda: len(stage.wire.lines()) == 4)
    assert stage.wire.lines()[2:] == ["last words", "after the rotation"]
    os.truncate(file, 0)
    with file.open("a") as out:
        out.write("short\n")
    await eventually(lambda: stage.wire.lines()[4:] == ["short"])
    assert stage.wire.dropped() == 0
    assert set(stage.wire.names) == {name}


async def test_the_output_of_a_task_is_read_and_followed_by_its_name(
    stage: Stage, run: Run, tmp_path: Path
) -> None:
    """It lies in the agent's own folder, which no path may lead into."""
    tasks = tmp_path / "agent" / "tasks"
    for epoch, text in ((9, "old run\n"), (10, "one\ntwo\n")):
        (tasks / f"camera.2.{epoch}").mkdir(parents=True)
        (tasks / f"camera.2.{epoch}" / "output.log").write_text(text)
    handler = logs.logs(run.folders, stage.tails, task_output=Outputs(tasks).find)
    outcome = await run(handler, "logs", unit="camera/2", lines=1)
    assert outcome.result is not None
    assert (outcome.result["source"], run.text()) == ("task camera/2", "two\n")

    outcome = await run(handler, "logs", unit="camera/2", lines=1, follow=True)
    assert outcome.result is not None
    assert outcome.result["name"] == log_name(unit="camera/2", path=None, grep=None)
    with (tasks / "camera.2.10" / "output.log").open("a") as out:
        out.write("three\n")
    await eventually(lambda: stage.wire.lines() == ["three"])

    outcome = await run(handler, "logs", unit="camera/3")
    assert outcome.error is not None
    assert (outcome.error.code, "camera/3" in outcome.error.message) == ("no_task", True)


@pytest.mark.parametrize(
    ("unit", "found"),
    [
        ("a/0", "a.0.11"),
        ("a/1", "a.1.3"),
        ("a/01", "a.1.3"),
        ("a/7", None),
        ("b/0", None),
        ("a", None),
        ("a/x", None),
    ],
)
def test_the_newest_grant_of_an_instance_is_meant(unit: str, found: str | None) -> None:
    names = ["a.0.9", "a.0.11", "a.1.3", "a.0.x", "aa.0.99", "a.00.99", "environments"]
    assert newest(unit, names) == found


async def test_a_link_that_takes_the_files_place_ends_it(stage: Stage, run: Run) -> None:
    file = run.root / "a.log"
    file.write_text("")
    secret = run.root.parent / "secret"
    secret.write_text("s\n")
    handler = logs.logs(run.folders, stage.tails)
    await run(handler, "logs", path=str(file), follow=True)
    (run.root / "link").symlink_to(secret)
    os.replace(run.root / "link", file)
    await eventually(lambda: stage.wire.words and stage.wire.words[-1].end)
    assert stage.wire.words[-1].end == "source_failed"
    assert stage.wire.lines() == []


async def test_what_cant_be_read_is_refused_at_once(stage: Stage, run: Run) -> None:
    handler = logs.logs(run.folders, stage.tails)
    assert code(await run(handler, "logs", path="/etc/passwd", follow=True)) == "outside_roots"
    missing = str(run.root / "none")
    assert code(await run(handler, "logs", path=missing, follow=True)) == "not_found"
    assert code(await run(handler, "logs", unit="sshd", follow=True)) == "outside_roots"
    assert stage.tails.names() == []


# The journal

JOURNALCTL = """#!/bin/sh
echo "$*" >> {calls}
case "$*" in
  *--follow*) echo 'live shop'; echo 'live other'; read -r _ < {fifo}; echo 'gone' >&2; exit 1;;
  *) echo 'first shop'; echo '-- cursor: s=c0ffee'; exit 0;;
esac
"""


async def test_a_journal_goes_on_behind_its_last_line(
    stage: Stage, run: Run, tmp_path: Path
) -> None:
    calls, fifo, program = (tmp_path / name for name in ("calls", "fifo", "journalctl"))
    os.mkfifo(fifo)
    program.write_text(JOURNALCTL.format(calls=calls, fifo=fifo))
    program.chmod(0o755)
    run.folders._roots = ("/var/log",)
    handler = logs.logs(run.folders, stage.tails, journalctl=str(program))
    outcome = await run(handler, "logs", unit="shop.service", follow=True, grep="shop", lines=5)
    assert outcome.state == "succeeded", outcome
    assert run.text() == "first shop\n"
    await eventually(lambda: stage.wire.lines() == ["live shop"])
    first, follow = calls.read_text().splitlines()
    assert "--unit=shop.service --show-cursor --lines=all" in first
    assert "--unit=shop.service --follow --after-cursor=s=c0ffee" in follow
    fifo.write_text("end\n")
    await eventually(lambda: stage.wire.words[-1].end)
    assert stage.wire.words[-1].end == "source_failed"
    assert "gone" in str(stage.wire.words[-1].detail)


# Pure parts


@given(st.lists(st.text(max_size=9000), max_size=30))
def test_messages_fit_and_hold_every_line_in_its_order(lines: list[str]) -> None:
    found = portions(lines)
    assert [line for portion in found for line in portion] == lines
    for portion in found:
        word = LogLines(tail="t", seq=1, ts=1, lines=portion, source="s" * 4096)
        assert len(encode(word)) <= MAX_MESSAGE_BYTES


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 40)), max_size=30))
def test_never_more_than_a_seconds_worth_and_the_rate(asked: list[tuple[float, int]]) -> None:
    now_s, taken = 0.0, 0.0
    allowance = Allowance(20, now_s)
    for pause_s, amount in asked:
        now_s += pause_s
        if allowance.has(amount, now_s):
            allowance.take(amount)
            taken += min(amount, 20)
        assert taken <= 20 + 20 * now_s + 1e-6


@given(
    st.text(max_size=60) | st.none(),
    st.text(max_size=60),
    st.none() | st.text(min_size=1, max_size=10),
)
def test_a_name_can_be_a_topic_and_is_of_one_log_alone(
    unit: str | None, path: str, grep: str | None
) -> None:
    name = log_name(unit=unit, path=None if unit is not None else path, grep=grep)
    assert is_name(name)
    assert name != log_name(
        unit=unit, path=None if unit is not None else path, grep="else" + (grep or "")
    )


def test_a_plain_unit_keeps_its_name() -> None:
    assert log_name(unit="nginx.service", path=None, grep=None) == "nginx"
    assert log_name(unit="nginx", path=None, grep=None) == "nginx"
    assert log_name(unit="nginx", path=None, grep="x").startswith("nginx-")
    assert log_name(unit="getty@tty1.service", path=None, grep=None).startswith("getty-tty1-")


def test_a_wire_word_is_small() -> None:
    word = LogLines(tail="a", seq=1, ts=1, lines=("x",))
    assert orjson.loads(encode(word))["lines"] == ["x"]
