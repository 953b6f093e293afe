"""Whatever a configuration holds, reading it ends in documents or in one error that points at it."""

from typing import Any

import pytest
from farshore_edge.config.documents import converted
from farshore_edge.config.handlers.agent import AgentSettings
from farshore_edge.config.handlers.memory import memory_handlers
from farshore_edge.config.model import Site
from farshore_edge.config.registry import Registry, nowhere
from farshore_edge.errors import ConfigurationError
from farshore_protocol.config.documents import DOCUMENTS
from farshore_protocol.config.pointer import ABSENT, find, keys_of
from hypothesis import given
from hypothesis import strategies as st

FIELDS = ["content", "mode", "path", "document", "on_change", "command", "running", "heartbeat_s"]
NAMES = st.sampled_from([*FIELDS, "/a", "a~b/c", "x", ""])
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
configs = st.dictionaries(st.sampled_from([*DOCUMENTS, "other"]), values, max_size=4)


@given(configs)
async def test_it_is_read_or_refused_with_a_pointer_to_what_is_there(config: Any) -> None:
    problem = await _problem(config)
    if problem is None:
        return
    assert problem.message
    keys_of(problem.path)
    if problem.code == "unknown_field":
        assert find(config, problem.path) is not ABSENT


async def _problem(config: Any) -> ConfigurationError | None:
    registry = Registry([*memory_handlers(), AgentSettings({}, {})], nowhere)
    try:
        documents = registry.read(config)
        site = Site(node="n", group="", labels={}, facts=dict)
        for handler, document in documents.parts:
            await handler.plan(document, site)
    except ConfigurationError as exc:
        return exc
    return None


@pytest.mark.parametrize(
    ("document", "value", "path"),
    [
        ("files", [], "/files"),
        ("files", {"/a": 5}, "/files/~1a"),
        ("files", {"/a/b": {"content": 5}}, "/files/~1a~1b/content"),
        ("files", {"/a": {"content": "", "owner": ""}}, "/files/~1a/owner"),
        ("services", {"x": {"restart_on": [5]}}, "/services/x/restart_on/0"),
        ("app", {"x": {"path": "/x", "on_change": {"comand": []}}}, "/app/x/on_change/comand"),
        ("app", {"x": {"path": "/x", "on_change": {"timeout_s": 0}}}, "/app/x/on_change/timeout_s"),
        ("app", {"x": {}}, "/app/x"),
        ("drift", {"interval_s": 0}, "/drift/interval_s"),
        ("drift", {"on_difference": "x"}, "/drift/on_difference"),
        ("drift", None, "/drift"),
    ],
)
def test_an_error_points_at_what_is_wrong(document: str, value: Any, path: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        converted(document, DOCUMENTS[document], value)
    assert caught.value.path == path, caught.value.message
