"""The schemas of verbs say the same as the types by which center and node decide."""

from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from farshore_protocol.commands import VERBS, Verb
from farshore_protocol.commands.arguments import ArgumentsError, check_arguments
from farshore_protocol.commands.schema import args_schema, catalogue_digest, verb_document
from hypothesis import given
from hypothesis import strategies as st

NAMES = sorted({name for verb in VERBS.values() for name in args_schema(verb)["properties"]})

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 100_000),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(max_size=12),
    st.sampled_from(["list", "status", "set", "a.service", "absent", "/var/log", "0644", "c1"]),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)
arguments = st.dictionaries(st.sampled_from([*NAMES, "unknown"]), values, max_size=4)


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_schema_is_one(name: str) -> None:
    document = verb_document(VERBS[name])
    for schema in (document["args"], document["result"]):
        if schema is not None:
            jsonschema.Draft202012Validator.check_schema(schema)
            assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@given(name=st.sampled_from(sorted(VERBS)), args=arguments)
def test_what_is_taken_fits_the_schema_and_what_fits_is_taken(
    name: str, args: dict[str, Any]
) -> None:
    verb = VERBS[name]
    fits = jsonschema.Draft202012Validator(args_schema(verb)).is_valid(args)
    if why_not(verb, args) is None:
        assert fits
    elif fits:
        # A rule between arguments has no place in a schema.
        assert hasattr(verb.args, "__post_init__")


ARGV = "list of string of up to 65,536 characters"


def why_not(verb: Verb, args: dict[str, Any]) -> ArgumentsError | None:
    try:
        check_arguments(verb, args)
    except ArgumentsError as exc:
        return exc
    return None


@pytest.mark.parametrize(
    ("name", "args", "field", "says", "expected"),
    [
        ("exec", {}, "args.argv", "missing required field `argv`", ARGV),
        ("exec", {"argv": [1]}, "args.argv[0]", "Expected `str`, got `int`", ARGV),
        ("exec", {"argv": []}, "args.argv", "length >= 1", ARGV),
        ("exec", {"argv": ["ls"], "cwd": 3}, "args.cwd", "Expected `str`, got `int`", "string"),
        ("logs", {"lnes": 5}, "args.lnes", "did you mean lines?", "of unit, path"),
        ("ping", {"x": 1}, "args.x", "has no argument 'x'", "no arguments"),
        ("file-read", {"path": "/a", "length": 0}, "args.length", ">= 1", "integer, 1 to 49,152"),
        ("net-probe", {"kind": "foo"}, "args.kind", "'foo'", "dns, http, icmp, path-mtu, tcp"),
        ("net-probe", {"kind": "tcp", "host": "a"}, "args", "port: tcp needs one", ""),
    ],
)
def test_the_field_that_is_to_blame_is_named(
    name: str, args: dict[str, Any], field: str, says: str, expected: str
) -> None:
    with pytest.raises(ArgumentsError) as caught:
        check_arguments(VERBS[name], args)
    assert caught.value.field == field
    assert caught.value.expected.startswith(expected)
    assert bool(caught.value.expected) is bool(expected)
    assert "expected )" not in caught.value.sentence()
    assert says in caught.value.detail


def test_the_digest_follows_the_verbs_and_not_the_order_of_their_names() -> None:
    both = catalogue_digest(["ping", "exec"])
    assert both == catalogue_digest(["exec", "ping"])
    assert both != catalogue_digest(["ping"])
    assert both != catalogue_digest(["ping", "exec", "of-a-plugin"])


def test_the_digest_follows_the_arguments_and_not_the_words() -> None:
    verb = VERBS["ping"]
    before = catalogue_digest(["ping"], {"ping": verb})
    assert catalogue_digest(["ping"], {"ping": replace(verb, summary="Other words.")}) == before
    assert catalogue_digest(["ping"], {"ping": replace(verb, args=VERBS["exec"].args)}) != before
    assert catalogue_digest(["ping"], {"ping": replace(verb, risk="danger")}) != before
