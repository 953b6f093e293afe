"""What the quick look calls good is what the JSON Schema calls good, for every document."""

import time
from typing import Any

import pytest
from farshore_center.config.checks import BUILT_IN, Checker
from farshore_center.config.quick import misfit
from farshore_center.config.schema import FORMATS, Schema, check_schema
from farshore_protocol.config.documents import DOCUMENTS
from farshore_protocol.config.layers import Layer, effective
from hypothesis import given
from hypothesis import strategies as st

SCHEMAS = {name: Schema(schema) for name, schema in BUILT_IN.items()}

WORDS = st.sampled_from(
    [
        "content", "template", "state", "mode", "path", "on_change", "command", "signal", "http",
        "batch_s", "log_level", "interval_s", "version", "enabled", "restart_on", "/etc/a", "x",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.sampled_from(["present", "absent", "0644", "INFO", "/etc/a", "SIGHUP", "", "x"]),
        st.sampled_from([None, True, 0, 1, 5, 2.5, -1]),
        st.lists(st.sampled_from(["a", 1]), max_size=2),
    ),
    lambda inner: st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(DOCUMENTS)), st.dictionaries(WORDS, VALUES, max_size=3))
def test_type_and_schema_agree(name: str, document: dict[str, Any]) -> None:
    assert (misfit(name, document) is None) == (SCHEMAS[name].check(document, "") == ())


GOOD: dict[str, Any] = {
    "agent": {"batch_s": 5, "log_level": "INFO"},
    "files": {"/etc/a": {"content": "x", "mode": "0600"}, "/etc/b": {"state": "absent"}},
    "services": {"nginx.service": {"running": True, "restart_on": ["/etc/a"]}},
    "packages": {"vim": {}},
    "app": {
        "cam": {
            "path": "/etc/cam.json",
            "document": {"any": [1, {"thing": True}]},
            "on_change": {"signal": "SIGHUP", "pid_file": "/run/cam.pid"},
        }
    },
    "health": {"web": {"http": "http://127.0.0.1/"}, "up": {"fresh": "/run/x", "max_age_s": 5}},
    "drift": {"interval_s": 60},
    "own": {"what": "ever"},
}


def violations(config: dict[str, Any], **stored: Any) -> list[tuple[str, str]]:
    found = Checker(stored).violations(effective([Layer(name="defaults@1", patch=config)]))
    return [(each.path, each.message) for each in found]


def test_a_good_configuration_of_every_document_passes() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("app", "cam", "on_change", "signl"), "x", "did you mean signal?"),
        (("agent", "outbox_max_bytes"), 2_000_000.0, "Expected `int | null`, got `float`"),
        (("agent", "log_level"), "LOUD", "LOUD"),
        (("services", "nginx.service", "runing"), True, "did you mean running?"),
        (("files", "/etc/b", "content"), "x", "absent: neither content nor template"),
        (("health", "up", "max_age_s"), None, "expected max_age_s beside fresh"),
        (("health", "web", "tcp"), "a:1", "just one of command, http, tcp, fresh"),
        (("app", "cam", "on_change", "pid_file"), None, "expected pid_file beside signal"),
    ],
)
def test_one_wrong_thing_is_found_and_named(path: tuple[str, ...], value: Any, words: str) -> None:
    patch: Any = value
    for key in reversed(path):
        patch = {key: patch}
    layers = [Layer(name="defaults@1", patch=GOOD), Layer(name="node:a@1", patch=patch)]
    (found,) = Checker({}).violations(effective(layers))
    assert words in found.message
    assert ("/" + "/".join(key.replace("/", "~1") for key in path)).startswith(found.path)


FORMAT_CASES = {
    "date": ("2026-02-28", "2026-02-30"),
    "date-time": ("2026-02-28T10:00:00Z", "2026-02-28T10:00:00"),
    "email": ("a@b", "a.b"),
    "hostname": ("a-b.example", "-a"),
    "ipv4": ("10.0.0.1", "10.0.0.256"),
    "ipv6": ("::1", ":::1"),
    "regex": ("a+", "("),
    "uri": ("http://a/b", "a b"),
    "uuid": ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b8109dad11d180b400c04fd430c8"),
}


def test_every_format_takes_the_good_and_refuses_the_bad() -> None:
    assert set(FORMAT_CASES) == set(FORMATS.checkers)
    for name, (good, bad) in FORMAT_CASES.items():
        schema = Schema({"format": name})
        assert schema.check(good, "") == ()
        assert schema.check(7, "") == ()
        assert schema.check(bad, "") != (), name


def test_a_stored_schema_comes_on_top_of_the_built_in_one() -> None:
    stored = {"agent": {"properties": {"batch_s": {"maximum": 4}}}, "app/cam": {"maxProperties": 0}}
    found = violations(GOOD, **stored)
    assert [path for path, _ in found] == ["/agent/batch_s", "/app/cam/document"]


@pytest.mark.parametrize(
    ("definition", "document"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 50_000 + "b"),
        ({"patternProperties": {"^(a|a)*$": {"type": "integer"}}}, {"a" * 50_000 + "b": "x"}),
        (
            {"patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": False},
            {"a" * 5_000 + "b": 1},
        ),
    ],
)
def test_no_pattern_runs_for_ever(definition: dict[str, object], document: object) -> None:
    """By Python's engine each of these takes longer than anybody waits."""
    check_schema(definition)
    began_s = time.monotonic()
    Schema(definition).check(document, "/x")
    assert time.monotonic() - began_s < 5


def test_patterns_search_as_the_standard_says() -> None:
    schema = Schema(
        {
            "properties": {"name": {"pattern": "^[a-z]+$"}, "free": {"pattern": "b+"}},
            "patternProperties": {"_s$": {"type": "number"}},
            "additionalProperties": False,
        }
    )
    assert schema.check({"name": "abc", "free": "xbx", "wait_s": 1.5}, "") == ()
    found = schema.check({"name": "A", "free": "x", "wait_s": "1", "nam": 1}, "/d")
    assert {each.path for each in found} == {"/d/name", "/d/free", "/d/wait_s", "/d/nam"}
    assert "did you mean name" in str(found)


def test_what_is_too_long_is_told_by_its_length_and_not_repeated() -> None:
    ((path, message),) = violations({"files": {"/etc/a": {"content": "x" * 300_000}}})
    assert (path, message) == (
        "/files/~1etc~1a/content",
        "300000 characters, expected 262144 or fewer",
    )
