"""Topics and names: built and parsed by inverses, and nothing else gets in."""

import re

import pytest
from farshore_protocol.errors import LocalProtocolError, TopicError
from farshore_protocol.names import (
    EVERYONE,
    MAX_GROUP_DEPTH,
    NAME,
    BadNameError,
    check_group,
    check_name,
    group_ancestors,
    group_from_level,
    group_to_level,
    is_name,
)
from farshore_protocol.topics import (
    CENTER_FILTERS,
    CenterState,
    Down,
    DownFile,
    GroupCommand,
    Topic,
    Up,
    node_filters,
    parse,
)
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

NAMES = st.from_regex(re.compile(NAME, re.ASCII), fullmatch=True)
MAYBE_DEVICE = st.none() | NAMES
GROUPS = (
    st.lists(NAMES, min_size=1, max_size=MAX_GROUP_DEPTH)
    .map("/".join)
    .filter(lambda path: path.split("/")[0] != EVERYONE)
)
TOPICS: st.SearchStrategy[Topic] = st.one_of(
    st.builds(
        Up,
        node=NAMES,
        kind=st.sampled_from(["presence", "birth", "heartbeat", "time"]),
        device=MAYBE_DEVICE,
    ),
    st.builds(
        Up,
        node=NAMES,
        kind=st.sampled_from(["res", "evt", "rep", "tel", "log"]),
        name=NAMES,
        device=MAYBE_DEVICE,
    ),
    st.builds(Down, node=NAMES, kind=st.sampled_from(["ack", "time", "error"])),
    st.builds(Down, node=NAMES, kind=st.sampled_from(["cmd", "desired", "log"]), name=NAMES),
    st.builds(DownFile, node=NAMES, digest=NAMES, chunk=st.integers(0, 999_999_999)),
    st.builds(GroupCommand, group=GROUPS | st.just(EVERYONE), verb=NAMES),
    st.just(CenterState()),
)
WORDS = st.sampled_from(
    ["fs1", "up", "down", "group", "center", "dev", "cmd", "ack", "res", "tel", "time", "file"]
) | st.sampled_from(
    ["presence", "all", "a~b", "n", "", "+", "#", "$SYS", "N", "a b", "ä", "n\n", "00", "0", "7"]
)


@given(TOPICS)
def test_what_is_built_is_parsed(topic: Topic) -> None:
    text = topic.build()
    assert parse(text) == topic
    assert not set(text) & set(" +#$.*>\x00"), "safe for every broker"


@given(st.lists(WORDS, max_size=8).map("/".join) | st.text(max_size=80))
@example("fs1/group//cmd/ping")
@example("fs1/down/n/file/d/٣")
@example("fs1/down/n/file/d/00")
@example("fs1/up/n\n/presence")
@example("fs1/up/" + "n" * 65 + "/presence")
@example("fs1/group/" + "~".join("abcdefgh") + "/cmd/ping")
def test_what_parses_is_what_is_built_and_the_rest_is_a_topic_error(text: str) -> None:
    try:
        topic = parse(text)
    except TopicError:
        return
    assert topic.build() == text


@pytest.mark.parametrize(
    "shape", ["fs1/up/{}/x", "fs1/group/{}/cmd/x", "{}", "fs1/group/a~{}/cmd/x"]
)
def test_an_error_about_a_long_topic_is_short(shape: str) -> None:
    with pytest.raises(TopicError) as caught:
        parse(shape.format("N" * 60_000))
    assert len(caught.value.detail) < 1000
    assert caught.value.reason == "bad_topic"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt/up/n/presence", "begin with 'fs1/'"),
        ("fs1", "begin with 'fs1/'"),
        ("fs1/up/N/presence", "node 'N': expected 1 to 64"),
        ("fs1/up/n/tel", "one of evt, log, rep, res, tel with a name"),
        ("fs1/up/n/presence/x", "a node writes"),
        ("fs1/down/n/cmd", "one of cmd, desired, log with a name"),
        ("fs1/group/a~B/cmd/ping", "segment 'B'"),
        ("fs1/group/a/cmd", "expected fs1/up/<node>"),
    ],
)
def test_an_error_says_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(TopicError, match=re.escape(expected)):
        parse(text)


def test_a_command_to_the_root_group_is_no_topic() -> None:
    with pytest.raises(LocalProtocolError, match="all"):
        GroupCommand(group="", verb="ping").build()


@given(NAMES, GROUPS)
def test_a_node_listens_to_itself_its_groups_everyone_and_the_center(node: str, group: str) -> None:
    heard: list[Topic] = [
        Down(node=node, kind="cmd", name="ping"),
        Down(node=node, kind="ack"),
        DownFile(node=node, digest="d", chunk=0),
        CenterState(),
        *(GroupCommand(group=path, verb="ping") for path in (*group_ancestors(group), EVERYONE)),
    ]
    filters = node_filters(node, group)
    assert len(set(filters)) == len(filters)
    for topic in heard:
        assert any(topic_matches_sub(each, topic.build()) for each in filters)
    not_heard: list[Topic] = [
        Down(node=node + "x" if len(node) < 64 else "x", kind="ack"),
        GroupCommand(group=f"{group}/z" if group.count("/") < 6 else "zz/zz", verb="ping"),
        Up(node=node, kind="presence"),
    ]
    for topic in not_heard:
        assert not any(topic_matches_sub(each, topic.build()) for each in filters)


@given(TOPICS)
def test_the_center_listens_to_all_that_nodes_write(topic: Topic) -> None:
    heard = any(topic_matches_sub(each, topic.build()) for each in CENTER_FILTERS)
    assert heard == isinstance(topic, Up)


@given(GROUPS | st.sampled_from(["", EVERYONE]))
def test_a_group_is_one_level_and_comes_back(path: str) -> None:
    level = group_to_level(path)
    assert "/" not in level
    assert group_from_level(level) == path


@given(GROUPS)
def test_the_ancestors_of_a_group_end_with_itself(path: str) -> None:
    ancestors = group_ancestors(path)
    assert ancestors[-1] == path
    assert [each.count("/") for each in ancestors] == list(range(len(ancestors)))
    assert all(path == each or path.startswith(f"{each}/") for each in ancestors)


@given(st.text(max_size=70))
@example("a\n")
@example("")
def test_a_name_is_exactly_what_the_pattern_says(text: str) -> None:
    valid = (
        1 <= len(text) <= 64
        and set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
        and text[0] not in "_-"
    )
    assert is_name(text) == valid
    if not valid:
        with pytest.raises(BadNameError):
            check_name(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a//b", id="an empty segment"),
        pytest.param("/a", id="a leading slash"),
        pytest.param("a/B", id="a capital"),
        pytest.param("a/b/c/d/e/f/g/h", id="eight levels"),
        pytest.param("a~b", id="the wire's form where the person's is meant"),
        pytest.param("all", id="everyone is no group"),
        pytest.param("all/x", id="and has no groups below"),
    ],
)
def test_what_is_no_group(text: str) -> None:
    with pytest.raises(BadNameError):
        check_group(text)
