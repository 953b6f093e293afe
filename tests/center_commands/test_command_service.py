"""Promises of the service on a real database: intent first, nothing lost, few transactions."""

import asyncio
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from center_commands.stage import CommandError, Output, Stage, report
from farshore_center.api.problems import Problem
from farshore_center.commands import NewCommand, NodeChoice
from farshore_center.db.errors import DatabaseError
from farshore_center.events import EventFilter
from farshore_protocol.commands import ByHand, Command
from sqlalchemy import Connection


async def kinds(stage: Stage, command: str) -> list[tuple[str, str | None, str | None]]:
    page = await stage.events.page(EventFilter(command=command), 0, 10_000)
    return [(e.kind, e.node, _state(e.data)) for e in page.items]


def _state(data: str) -> str | None:
    state: str | None = orjson.loads(data).get("state")
    return state


async def test_an_online_node_gets_its_command_at_once(stage: Stage) -> None:
    stage.online = {"pi-17"}
    async with stage.running():
        view = await stage.create(
            "pi-17", verb="exec", args={"argv": ["true"]}, ttl_s=30, timeout_s=5
        )
        await stage.downlink.until_sent(1)
    node, verb, command = stage.downlink.sent[0]
    assert (node, verb) == ("pi-17", "exec")
    assert command == Command(
        id=view.id, args={"argv": ["true"]}, ttl_s=30, timeout_s=5, iat=stage.clock.now_ms()
    )
    assert await kinds(stage, view.id) == [
        ("command.created", None, None),
        ("command.target", "pi-17", "sent"),
    ]


async def test_the_verbs_own_timeout_is_the_default(stage: Stage) -> None:
    stage.online = {"pi-17"}
    async with stage.running():
        assert (await stage.create("pi-17")).timeout_s == 10
        await stage.downlink.until_sent(1)
    assert stage.downlink.sent[0][2].timeout_s == 10


async def test_a_verb_that_only_a_node_knows_is_sent_as_it_is(stage: Stage) -> None:
    stage.online = {"pi-17"}
    stage.announced = {"pi-17": {"blink"}, "pi-18": {"ping"}}
    args = {"times": 3, "what": ["left", None]}
    async with stage.running():
        view = await stage.create("pi-17", "pi-18", verb="blink", args=args)
        await stage.downlink.until_sent(1)
    assert (view.verb, view.timeout_s) == ("blink", None), "its timeout is the node's business"
    assert stage.downlink.sent[0][1:] == (
        "blink",
        Command(id=view.id, args=args, ttl_s=60, iat=stage.clock.now_ms()),
    )
    with pytest.raises(Problem) as caught:
        await stage.create("pi-18", verb="blink")
    assert caught.value.errors[0].detail == "pi-18 has not announced the verb blink"
    with pytest.raises(Problem) as caught:
        await stage.create("pi-17", verb="blink", args={"x": "y" * 200_000})
    assert caught.value.errors[0].field == "args"


async def test_an_absent_node_gets_it_on_arrival_with_the_time_that_is_left(stage: Stage) -> None:
    async with stage.running():
        view = await stage.create("pi-17", "pi-18", ttl_s=60)
        stage.advance(20)
        assert (await stage.target(view.id, "pi-17")).state == "queued"
        stage.online.add("pi-17")
        stage.service.node_arrived("pi-17")
        await stage.downlink.until_sent(1)
    assert stage.downlink.nodes() == ["pi-17"]
    assert stage.downlink.sent[0][2].ttl_s == 40
    assert (await stage.service.get(view.id)).summary == {"queued": 1, "sent": 1}


async def test_sent_is_on_the_disk_before_anything_leaves(stage: Stage, tmp_path: Path) -> None:
    """SIGKILL between the commit and the publish: the next center sends the same id again."""
    stage.online = {"pi-17"}
    stage.downlink.failure = ConnectionError("the process is killed here")
    on_disk: list[str] = []

    def look() -> None:
        with closing(sqlite3.connect(tmp_path / "center.db")) as other:
            on_disk.extend(state for (state,) in other.execute("SELECT state FROM command_target"))

    stage.downlink.before_send = look
    async with stage.running():
        view = await stage.create("pi-17")
        await stage.downlink.until(lambda downlink: downlink.attempts == 1)
    assert on_disk == ["sent"]
    stage.restart()
    async with stage.running():
        stage.service.node_arrived("pi-17")
        await stage.downlink.until_sent(1)
    assert stage.downlink.sent[0][2].id == view.id
    assert (await stage.target(view.id, "pi-17")).sends == 2


async def test_what_was_queued_at_a_crash_is_sent_by_the_next_center(stage: Stage) -> None:
    view = await stage.create("pi-17", "pi-18")
    stage.online = {"pi-17", "pi-18"}
    stage.restart()
    async with stage.running():
        await stage.downlink.until_sent(2)
    assert {command.id for _, _, command in stage.downlink.sent} == {view.id}


async def test_what_ran_out_while_the_center_was_down_expires(stage: Stage) -> None:
    view = await stage.create("pi-17", ttl_s=60)
    stage.clock.advance(61)
    stage.restart()
    async with stage.running():
        await stage.until_state(view.id, "expired")
    assert stage.downlink.sent == []
    assert (await stage.target(view.id, "pi-17")).reason == "node was not online"


async def test_without_an_answer_it_is_sent_again_slower_and_slower(stage: Stage) -> None:
    stage.online = {"pi-17"}
    async with stage.running():
        view = await stage.create("pi-17", ttl_s=600)
        await stage.downlink.until_sent(1)
        sends = 1
        for pause_s in (10, 20, 40, 60, 60):
            stage.advance(pause_s - 1)
            await stage.until_idle()
            assert len(stage.downlink.sent) == sends
            stage.advance(1)
            sends += 1
            await stage.downlink.until_sent(sends)
    assert {command.id for _, _, command in stage.downlink.sent} == {view.id}
    assert stage.service.stats()["sent_again"] == 5
    states = [state for kind, _, state in await kinds(stage, view.id) if kind == "command.target"]
    assert states == ["sent"]


async def test_an_answer_ends_the_sending(stage: Stage) -> None:
    stage.online = {"pi-17"}
    async with stage.running():
        view = await stage.create("pi-17")
        await stage.downlink.until_sent(1)
        await stage.report(("pi-17", report(view.id, "running")))
        stage.advance(59)
        stage.service.node_arrived("pi-17")
        await stage.until_idle()
        stage.advance(59)
        await stage.until_idle()
    assert [command.ask for _, _, command in stage.downlink.sent].count(False) == 1
    assert (await stage.target(view.id, "pi-17")).state == "running"
    assert stage.service.stats()["waiting"] == 0


async def test_no_answer_expires_and_a_late_one_overrules(stage: Stage) -> None:
    stage.online = {"pi-17"}
    async with stage.running():
        view = await stage.create("pi-17", ttl_s=60)
        await stage.downlink.until_sent(1)
        stage.online.clear()
        stage.advance(60)
        await stage.until_state(view.id, "expired")
        assert (await stage.target(view.id, "pi-17")).reason == "no answer"
        assert (await stage.service.get(view.id)).done
        await stage.report(("pi-17", report(view.id, "succeeded", result={"pong": True})))
    document = (await stage.service.get(view.id)).document()
    assert document["summary"] == {"succeeded": 1}
    assert document["targets"][0]["reason"] is None


async def test_a_node_whose_send_fails_does_not_hold_up_the_others(stage: Stage) -> None:
    stage.online = {"pi-1", "pi-2", "pi-3"}

    def fail_second() -> None:
        failing = stage.downlink.attempts == 1
        stage.downlink.failure = ConnectionError("gone") if failing else None

    stage.downlink.before_send = fail_second
    async with stage.running():
        await stage.create("pi-1", "pi-2", "pi-3")
        await stage.downlink.until(lambda downlink: downlink.attempts == 3)
        assert len(stage.downlink.sent) == 2
        await stage.until_idle()
        assert stage.service.stats()["send_failures"] == 1


async def test_a_stuck_downlink_does_not_stop_the_loop(stage: Stage) -> None:
    stage.online = {"pi-1", "pi-2"}
    stuck = asyncio.Event()

    async def send(message: Any) -> None:
        stuck.set()
        await asyncio.Event().wait()

    stage.downlink.send = send  # type: ignore[method-assign]
    async with stage.running():
        view = await stage.create("pi-1", "pi-2", ttl_s=30)
        await asyncio.wait_for(stuck.wait(), 5)
        stage.advance(31)
        await stage.until_state(view.id, "expired")
    assert stage.service.stats()["send_failures"] == 2


async def test_a_database_that_fails_for_a_while_delays_and_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.online = {"pi-17"}
    view = await stage.create("pi-17")
    write, failed = stage.database.write, asyncio.Event()

    async def failing(work: Any) -> Any:
        failed.set()
        raise DatabaseError("disk full")

    monkeypatch.setattr(stage.database, "write", failing)
    async with stage.running():
        await asyncio.wait_for(failed.wait(), 5)
        monkeypatch.setattr(stage.database, "write", write)
        stage.advance(1)
        await stage.downlink.until_sent(1)
    assert stage.downlink.sent[0][2].id == view.id


async def test_an_arrival_while_the_database_fails_is_not_forgotten(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.online = {"pi-17"}
    write, failed = stage.database.write, asyncio.Event()

    async def failing(work: Any) -> Any:
        failed.set()
        raise DatabaseError("disk full")

    async with stage.running():
        await stage.create("pi-17")
        await stage.downlink.until_sent(1)
        monkeypatch.setattr(stage.database, "write", failing)
        stage.service.node_arrived("pi-17")
        await asyncio.wait_for(failed.wait(), 5)
        monkeypatch.setattr(stage.database, "write", write)
        stage.advance(1)
        await stage.downlink.until_sent(2)


async def test_who_asks_and_leaves_still_has_given_the_command(stage: Stage) -> None:
    stage.online = {"pi-17"}
    async with stage.running():
        asking = asyncio.create_task(stage.create("pi-17"))
        await asyncio.sleep(0)  # one turn: it has handed over its work
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await stage.downlink.until_sent(1)


async def test_the_same_key_makes_one_command(stage: Stage) -> None:
    views = await asyncio.gather(*(stage.create("pi-1", key="k-1") for _ in range(5)))
    assert len({view.id for view in views}) == 1
    assert sorted(view.repeated for view in views) == [False, True, True, True, True]
    with pytest.raises(Problem) as caught:
        await stage.create("pi-1", key="k-1", ttl_s=61)
    assert caught.value.status == 422
    assert caught.value.errors[0].field == "Idempotency-Key"
    assert len((await stage.service.list()).items) == 1


async def test_everything_of_a_key_is_compared_but_what_all_means_today(stage: Stage) -> None:
    everyone = NewCommand(choice=NodeChoice(all=True), nodes=("pi-1",), verb="ping")
    first = await stage.service.create(everyone, "k")
    again = await stage.service.create(everyone.to(["pi-1", "pi-2"]), "k")
    assert (again.id, again.repeated) == (first.id, True)


async def test_cancel_takes_what_was_not_sent_and_asks_the_nodes_of_the_rest(stage: Stage) -> None:
    stage.online = {"pi-1"}
    async with stage.running():
        view = await stage.create("pi-1", "pi-2")
        await stage.downlink.until_sent(1)
        cancellation = await stage.service.cancel(view.id)
        assert cancellation.document()["not_cancelled"] == [
            {"node": "pi-1", "state": "sent", "cancelling": True}
        ]
        asking = await stage.service.get(cancellation.asked_by or "")
        assert orjson.loads(asking.args) == {"id": view.id, "verb": "ping"}
        await stage.downlink.until_sent(2)
        assert cancellation.command.summary == {"sent": 1, "cancelled": 1}
        stage.online.add("pi-2")
        stage.service.node_arrived("pi-2")
        await stage.until_idle()
        assert stage.downlink.nodes() == ["pi-1", "pi-1"]
        stage.service.node_arrived("pi-1")
        await stage.downlink.until_sent(3)
        verbs = [verb for _, verb, _ in stage.downlink.sent]
        assert verbs == ["ping", "cancel", "cancel"], "the command itself is not sent again"
        await stage.report(("pi-1", report(view.id, "cancelled")))
        with pytest.raises(Problem) as caught:
            await stage.service.cancel(view.id)
    assert caught.value.status == 409
    assert ("command.target", "pi-2", "cancelled") in await kinds(stage, view.id)


async def test_lists_are_walked_page_by_page(stage: Stage) -> None:
    made = []
    for n in range(7):
        made.append((await stage.create(f"pi-{n}")).id)
        stage.clock.advance(n % 2)
    seen: list[str] = []
    cursor = None
    while True:
        page = await stage.service.list(3, cursor)
        seen += [view.id for view in page.items]
        assert all(view.targets is None and view.summary == {"queued": 1} for view in page.items)
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)
    created = [(await stage.service.get(command_id)).created_ms for command_id in seen]
    assert created == sorted(created, reverse=True)


async def test_a_thousand_nodes_cost_few_transactions(stage: Stage) -> None:
    """Create, send and answer; the times are generous bounds, not measurements."""
    nodes = [f"node-{n:04}" for n in range(1000)]
    stage.online = set(nodes)
    before = stage.database.stats().transactions
    began = time.monotonic()
    async with stage.running():
        view = await stage.create(*nodes)
        await stage.downlink.until_sent(1000)
        sent = stage.database.stats().transactions
        assert sent - before <= 2
        via = (("received", 1), ("accepted", 2), ("running", 3))
        answers = [
            (
                node,
                report(
                    view.id,
                    "succeeded",
                    via=via,
                    result={"pong": True},
                    output=(Output(offset=0, stream="stdout", text="x"),),
                ),
            )
            for node in nodes
        ]
        reporting = time.monotonic()
        await stage.report(*answers)
        reported = time.monotonic()
        assert stage.database.stats().transactions - sent == 1
    assert (await stage.service.get(view.id)).summary == {"succeeded": 1000}
    assert reported - reporting < 2
    assert reported - began < 10
    assert set(stage.downlink.nodes()) == set(nodes)


async def test_outputs_and_errors_are_kept(stage: Stage) -> None:
    view = await stage.create("pi-17", verb="exec", args={"argv": ["make"]})
    late = report(view.id, "running", 1, output=(Output(offset=0, stream="stdout", text="one\n"),))
    end = report(
        view.id,
        "failed",
        2,
        result={"exit_code": 2},
        error=CommandError(code="exit", message="exit code 2"),
        output=(
            Output(offset=4, stream="stdout", text="two\n"),
            Output(offset=0, stream="stderr", text="no rule\0"),
        ),
    )
    await stage.report(("pi-17", end))
    await stage.report(("pi-17", late), ("pi-17", late))
    (target,) = (await stage.service.get(view.id)).targets or ()
    assert [(o.stream, o.offset, o.text) for o in target.output] == [
        ("stderr", 0, "no rule\N{REPLACEMENT CHARACTER}"),
        ("stdout", 0, "one\n"),
        ("stdout", 4, "two\n"),
    ]
    assert target.target.state == "failed"
    assert target.target.result == '{"exit_code":2}'
    assert target.target.error == '{"code":"exit","message":"exit code 2"}'


async def test_a_command_given_by_hand_is_learnt_of(stage: Stage) -> None:
    await stage.report(
        ("pi-1", report("by-hand", "succeeded", verb="status")),
        ("pi-2", report("by-hand", "running", verb="status")),
    )
    await stage.report(("pi-2", report("by-hand", "succeeded", 2, verb="status")))
    view = await stage.service.get("by-hand")
    assert (view.verb, view.by, view.done) == ("status", "field", True)
    assert view.summary == {"succeeded": 2}
    created = [kind for kind, _, _ in await kinds(stage, "by-hand") if kind == "command.created"]
    assert len(created) == 1


async def test_what_a_person_asked_for_is_learnt_of(stage: Stage) -> None:
    told = ByHand(group="eu", args={"argv": ["uptime"]}, args_bytes=19)
    await stage.report(
        ("pi-1", report("group-1", "succeeded", verb="exec", by_hand=told)),
        ("pi-2", report("group-1", "running", verb="exec", by_hand=told)),
    )
    view = await stage.service.get("group-1")
    assert (view.by, view.args) == ("field", '{"argv":["uptime"]}')
    assert view.summary == {"succeeded": 1, "running": 1}
    assert {t.target.reason for t in view.targets or ()} == {None}
    page = await stage.events.page(EventFilter(kind="command.created"), 0, 10)
    assert [orjson.loads(event.data)["group"] for event in page.items] == ["eu"]


@pytest.mark.parametrize(
    ("verb", "args", "says"),
    [
        ("status", None, "verb 'status'"),
        ("exec", {"argv": ["reboot"]}, "other arguments"),
    ],
)
async def test_one_id_for_different_commands_of_several_nodes_is_told(
    stage: Stage, verb: str, args: dict[str, Any] | None, says: str
) -> None:
    first = ByHand(args={"argv": ["uptime"]})
    second = ByHand(args=args)
    await stage.report(("pi-1", report("c1", "succeeded", verb="exec", by_hand=first)))
    await stage.report(("pi-2", report("c1", "running", 1, verb=verb, by_hand=second)))
    await stage.report(("pi-2", report("c1", "succeeded", 2, verb=verb)))
    assert (await stage.target("c1", "pi-1")).reason is None
    reason = (await stage.target("c1", "pi-2")).reason or ""
    assert reason.startswith("this node was given another command under the same id")
    assert says in reason
    assert (await stage.service.get("c1")).summary == {"succeeded": 2}, "and nothing is lost"


async def test_a_node_does_not_join_the_command_of_others(stage: Stage) -> None:
    view = await stage.create("pi-1")
    await stage.report(("pi-2", report(view.id, "succeeded")))
    assert (await stage.service.get(view.id)).summary == {"queued": 1}
    assert ("command.stray", "pi-2", "succeeded") in await kinds(stage, view.id)
    assert stage.service.stats()["strays"] == 1


async def test_reports_of_one_node(stage: Stage) -> None:
    view = await stage.create("pi-1")

    def work(conn: Connection) -> Any:
        reports = [report(view.id, "received", 1), report(view.id, "accepted", 2)]
        return stage.service.record_many(conn, [("pi-1", each) for each in reports])

    drafts = await stage.database.write(work)
    assert [draft.data["state"] for draft in drafts] == ["received", "accepted"]
    assert (await stage.target(view.id, "pi-1")).state == "accepted"


async def test_an_unknown_command_is_not_found(stage: Stage) -> None:
    for asking in (stage.service.get("none"), stage.service.cancel("none")):
        with pytest.raises(Problem) as caught:
            await asking
        assert caught.value.status == 404
