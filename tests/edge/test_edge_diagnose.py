"""``diagnose`` tells all of it, without secrets, in one message, whatever is broken around it."""

import asyncio
import logging
from typing import Any

import orjson
import pytest
from edge.edge_bench import eventually
from edge.test_edge_agent import World
from edge.test_edge_agent import world as world
from farshore_edge.commands.ending import RESULT_MAX_BYTES
from farshore_edge.commands.verbs import Context
from farshore_edge.commands.verbs.diagnose import DOCUMENT_BYTES, diagnose
from farshore_edge.diagnosis import _folder, _process
from farshore_edge.logtail import LINE_CHARS, LogTail
from farshore_edge.redact import REDACTED, Redactor, is_secret
from farshore_protocol.codec import convert, encode
from farshore_protocol.commands import VERBS, Output
from farshore_protocol.commands.catalogue import DiagnoseArgs
from hypothesis import given
from hypothesis import strategies as st

SECRET = "hunter2-Zx9"  # noqa: S105 # one that is looked for


async def said(_chunk: Output) -> None:
    raise AssertionError("it writes no output")


CONTEXT = Context(timeout_s=60, output_max_bytes=0, emit=said)


async def document(
    sections: dict[str, Any], log: list[str] | None = None, section_s: float = 5, **args: Any
) -> dict[str, Any]:
    def telling(value: Any) -> Any:
        async def tell(_args: DiagnoseArgs) -> Any:
            if isinstance(value, BaseException):
                raise value
            return await value() if callable(value) else value

        return tell

    verb = diagnose(
        {name: telling(value) for name, value in sections.items()},
        lambda: log or [],
        node="n1",
        agent_version="1",
        now_ms=lambda: 5,
        section_s=section_s,
    )
    outcome = await verb(convert(VERBS["diagnose"].args, args), CONTEXT)
    assert outcome.state == "succeeded"
    assert len(encode(outcome.result)) <= RESULT_MAX_BYTES
    assert outcome.result is not None
    convert(VERBS["diagnose"].result or dict, outcome.result)
    return outcome.result


async def ask(world: World, command_id: str = "d1", **args: Any) -> dict[str, Any]:
    world.say("cmd/diagnose", {"id": command_id, "args": args})
    await eventually(
        lambda: any(w["state"] == "succeeded" for w in world.words(f"res/{command_id}"))
    )
    found: dict[str, Any] = world.words(f"res/{command_id}")[-1]["result"]
    return found


async def test_every_section_is_told_by_the_agent(world: World) -> None:
    agent = world.start()
    await eventually(lambda: agent.connected)
    world.say("cmd/ping", {"id": "p1"})
    await eventually(lambda: world.words("res/p1"))
    found = (await ask(world))["sections"]
    assert all("error" not in each for each in found.values() if isinstance(each, dict)), found
    assert found["agent"]["boot"] == agent.boot
    assert found["settings"]["node"] == "n1"
    assert [change["state"] for change in found["link"]["changes"]] == ["up"]
    assert found["streams"]["results"]["head"] >= 1
    assert found["disk"]["writable"] is True
    assert {"id": "p1", "verb": "ping", "state": "succeeded"}.items() <= found["commands"][
        1
    ].items()
    assert found["machine"] == {"cpu": {"cores": 4}}
    assert found["clock"]["synced"] is False
    assert found["config"]
    assert found["losses"] == {"count": 0, "last": []}


async def test_what_has_happened_to_the_link_is_told(world: World) -> None:
    agent = world.start()
    await eventually(lambda: agent.connected)
    world.bus.cut("n1", "a wolf bit the cable")
    await eventually(lambda: agent.connected and len(agent._links.changes) == 3)
    changes = (await ask(world))["sections"]["link"]["changes"]
    assert [change["state"] for change in changes] == ["up", "down", "up"]
    assert changes[1]["reason"] == "a wolf bit the cable"


async def test_it_is_told_while_the_disk_fails(world: World) -> None:
    agent = world.start()
    await eventually(lambda: agent.connected and world.words("rep/facts"))
    world.disk.commits_fail = world.disk.reads_fail = True
    found = (await ask(world))["sections"]
    assert found["commands"] == {"error": "disk I/O error"}
    assert found["agent"]["boot"] == agent.boot
    assert found["machine"]
    world.disk.commits_fail = world.disk.reads_fail = False


async def test_a_broken_and_a_hanging_section_take_no_other_along() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    sections = {"a": OSError(5, "Input/output error"), "b": hangs, "c": {"x": 1}}
    found = (await document(sections, section_s=0.05))["sections"]
    assert found["a"] == {"error": "OSError: [Errno 5] Input/output error"}
    assert found["b"] == {"error": "not found out within 0.05 s"}
    assert found["c"] == {"x": 1}


async def test_it_fits_into_one_message_and_keeps_the_newest() -> None:
    big = {str(n): "x" * 10_000 for n in range(50)}
    rows = [{"id": str(n), "verb": "exec"} for n in range(20_000)]
    lines = [f"{n} {'é' * 500}" for n in range(2000)]
    found = await document({"big": big, "rows": rows}, lines, lines=2000)
    assert len(encode(found)) <= DOCUMENT_BYTES + 200
    assert found["log"][-1].startswith("1999 ")
    assert found["log_cut_lines"] == 2000 - len(found["log"])
    assert found["sections"]["big"]["left_out"]
    assert found["sections"]["rows"]["left_out"] > 0
    assert (await document({}, lines, lines=0))["log"] == []


async def test_no_secret_gets_out_of_any_section_or_line() -> None:
    sections = {
        "settings": {"password": SECRET, "labels": {"api-token": SECRET, "site": "x"}},
        "link": {"center": f"mqtt://me:{SECRET}@x:1", "changes": [{"reason": f"token={SECRET}"}]},
        "broken": RuntimeError(f"can't log in with password: {SECRET}"),
    }
    lines = [f"GET /x Authorization: Bearer {SECRET}", f'{{"secret": "{SECRET}"}}', "all is well"]
    found = await document(sections, lines)
    assert SECRET not in orjson.dumps(found).decode()
    assert found["redacted"] >= 6
    assert found["log"][-1] == "all is well"
    assert found["sections"]["settings"]["labels"]["site"] == "x"


@pytest.mark.parametrize(
    "text",
    [
        "password={}",
        "PASSWORD = '{}'",
        '"db_password": "{}"',
        "--api-key {} --verbose",
        "--token={}",
        "https://user:{}@host/x",
        "mqtt://:{}@host",
        "Authorization: Bearer {}",
        "Cookie: {}",
        "FARSHORE_TOKEN={}",
        "client_secret => {}",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\n{}",
    ],
)
def test_texts_with_a_secret(text: str) -> None:
    redactor = Redactor()
    told = redactor.text(text.format(SECRET))
    assert SECRET not in told
    assert REDACTED in told
    assert redactor.count >= 1
    assert redactor.text(told) == told, "twice is as good as once"


@pytest.mark.parametrize(
    "text",
    [
        "the link is down reason=the broker is away up_s=5.0 retry_in_s=2.0",
        "keepalive_s=60 monkey=5 compass=n author=ada",
        "2026-11-26 21:00:00,000 INFO farshore_edge.app: connected conn=1 center=mqtt://x:1",
        "tokens are no secret in a sentence, nor is a password",
    ],
)
def test_texts_without_one_stay_as_they_are(text: str) -> None:
    assert Redactor().text(text) == text


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("password", True), ("dbPassword", True), ("api_key", True), ("wifi-psk", True),
        ("client.secret", True), ("authToken", True), ("credentials", True),
        ("keepalive_s", False), ("key", False), ("node", False), ("compass", False),
        ("passed", False), ("secretary", False),
    ],
)  # fmt: skip
def test_names_of_fields(key: str, secret: bool) -> None:
    assert is_secret(key) is secret


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "password", "api_key", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(TREES)
def test_nothing_below_a_secret_name_is_left_and_the_form_stays(tree: Any) -> None:
    def holds(value: Any) -> bool:
        match value:
            case dict():
                return all(
                    each in (None, "", REDACTED) or isinstance(each, bool)
                    if is_secret(key)
                    else holds(each)
                    for key, each in value.items()
                )
            case list():
                return all(map(holds, value))
        return True

    told = Redactor().document({"it": tree})
    assert holds(told)
    assert Redactor().document(told) == told


def test_the_log_keeps_its_last_lines_in_memory() -> None:
    tail = LogTail(most=3)
    logger = logging.getLogger("test.tail")
    logger.addHandler(tail)
    logger.propagate = False
    try:
        for n in range(5):
            logger.warning("line %d", n)
        assert tail.lines() == ["line 2", "line 3", "line 4"]
        logger.warning("a\nb" + "x" * 2 * LINE_CHARS)
        assert [len(line) for line in tail.lines()] == [6, 1, LINE_CHARS]
    finally:
        logger.removeHandler(tail)


def test_what_a_real_machine_adds(tmp_path: Any) -> None:
    (tmp_path / "agent.db").write_bytes(b"x" * 10)
    assert _folder(tmp_path)["files"] == {"agent.db": 10}
    assert _folder(tmp_path)["free_bytes"] > 0
    assert "folder_error" in _folder(tmp_path / "gone")
    assert _process()["pid"] > 0
