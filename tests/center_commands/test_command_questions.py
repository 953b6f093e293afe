"""What a node has taken and not ended is asked for: a restore, or a new disk, may have taken the end."""

import asyncio

import pytest
from center_commands.stage import Stage, report
from farshore_center.db.errors import DatabaseError
from farshore_protocol.commands import Command


def questions(stage: Stage) -> list[tuple[str, str, Command]]:
    return [sent for sent in stage.downlink.sent if sent[2].ask]


async def arrived(stage: Stage, *nodes: str) -> None:
    """Births; then the time passes after which they are asked."""
    for node in nodes:
        stage.service.node_arrived(node)
    stage.advance(10)
    await stage.until_idle()


async def test_after_its_birth_a_node_is_asked_for_what_it_has_until_it_has_ended(
    stage: Stage,
) -> None:
    stage.online = {"pi-17", "pi-18"}
    async with stage.running():
        view = await stage.create("pi-17", "pi-18", verb="exec", args={"argv": ["true"]})
        await stage.downlink.until_sent(2)
        await stage.report(
            ("pi-17", report(view.id, "running")), ("pi-18", report(view.id, "succeeded"))
        )
        await arrived(stage, "pi-17", "pi-18")
        await stage.downlink.until_sent(3)
        ((node, verb, question),) = questions(stage)
        assert (node, verb, question.id, question.args) == ("pi-17", "exec", view.id, {})
        stage.advance(599)
        await stage.until_idle()
        assert len(questions(stage)) == 1
        stage.advance(1)
        await stage.downlink.until_sent(4)
        assert len(questions(stage)) == 2, "the first one may have been lost"
        await stage.report(("pi-17", report(view.id, "interrupted", seq=2)))
        stage.advance(600)
        await stage.until_idle()
        assert (await stage.service.get(view.id)).done
    assert len(questions(stage)) == 2
    assert stage.service.stats()["asked"] == 2
    assert (await stage.target(view.id, "pi-17")).sends == 1, "a question is no sending"


async def test_what_arrives_with_the_birth_needs_no_question(stage: Stage) -> None:
    stage.online = {"pi-17"}
    async with stage.running():
        view = await stage.create("pi-17")
        await stage.downlink.until_sent(1)
        await stage.report(("pi-17", report(view.id, "running")))
        stage.service.node_arrived("pi-17")
        await stage.report(("pi-17", report(view.id, "succeeded", seq=2)))
        await arrived(stage)
    assert questions(stage) == []


async def test_who_has_gone_again_is_asked_after_the_next_birth(stage: Stage) -> None:
    stage.online = {"pi-17"}
    async with stage.running():
        view = await stage.create("pi-17")
        await stage.downlink.until_sent(1)
        await stage.report(("pi-17", report(view.id, "accepted")))
        stage.service.node_arrived("pi-17")
        stage.online.clear()
        await arrived(stage)
        assert questions(stage) == []
        stage.online.add("pi-17")
        await arrived(stage, "pi-17")
        await stage.downlink.until_sent(2)
    assert [node for node, _, _ in questions(stage)] == ["pi-17"]


async def test_a_database_and_a_downlink_that_fail_delay_the_question(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.online = {"pi-17"}
    async with stage.running():
        view = await stage.create("pi-17")
        await stage.downlink.until_sent(1)
        await stage.report(("pi-17", report(view.id, "running")))
        failed = asyncio.Event()

        async def broken(_work: object) -> None:
            failed.set()
            raise DatabaseError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(stage.database, "read", broken)
            stage.service.node_arrived("pi-17")
            stage.advance(10)
            async with asyncio.timeout(10):
                await failed.wait()
        stage.downlink.failure = ConnectionError("no link")
        tries = stage.downlink.attempts
        stage.advance(10)
        await stage.downlink.until(lambda downlink: downlink.attempts > tries)
        stage.downlink.failure = None
        stage.advance(600)
        await stage.downlink.until_sent(2)
    assert len(questions(stage)) == 1


async def test_a_restored_center_asks_also_while_commands_are_held(stage: Stage) -> None:
    """A question runs nothing, so it need not wait for a person."""
    stage.online = {"pi-17"}
    async with stage.running():
        view = await stage.create("pi-17")
        await stage.downlink.until_sent(1)
        await stage.report(("pi-17", report(view.id, "running")))
        await stage.database.write(stage.service.hold)
        await arrived(stage, "pi-17")
        await stage.downlink.until_sent(2)
    assert len(questions(stage)) == 1
