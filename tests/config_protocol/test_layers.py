"""Layers: RFC 7396 as its own table has it, shared prefixes, and the origin of every value."""

import copy
from typing import Any

import pytest
from farshore_protocol.config.difference import Change, differences, same
from farshore_protocol.config.digest import digest
from farshore_protocol.config.layers import (
    MAX_DEPTH,
    Layer,
    Merger,
    check_patch,
    effective,
    merge,
    trace,
)
from farshore_protocol.config.pointer import ABSENT, find, keys_of, pointer
from farshore_protocol.errors import MessageError
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.sampled_from(["a", "b", "c", "", "x/y", "~", "~1"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, 0.5]),
    st.sampled_from(["", "v"]),
)
VALUES = st.recursive(
    st.one_of(SCALARS, st.lists(SCALARS, max_size=2)),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
PATCHES = st.dictionaries(KEYS, VALUES, max_size=4)
STACKS = st.lists(PATCHES, max_size=6).map(
    lambda patches: tuple(
        Layer(name=f"layer-{number}@1", patch=patch) for number, patch in enumerate(patches)
    )
)

RFC_7396_APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396_APPENDIX_A)
def test_merging_is_that_of_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


@given(PATCHES, PATCHES)
def test_a_merge_changes_neither_side(target: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((target, patch))
    merge(target, patch)
    assert (target, patch) == before


@given(STACKS, st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=5))
def test_shared_prefixes_change_no_result(
    layers: tuple[Layer, ...], orders: list[list[int]]
) -> None:
    merger = Merger()
    for order in [list(range(len(layers))), *orders]:
        chosen = [layers[i] for i in order if i < len(layers)]
        alone = effective(chosen)
        assert merger.once(chosen).canonical == alone.canonical
        shared = merger.effective(chosen)
        assert shared.canonical == alone.canonical
        assert shared.digest == alone.digest == digest(alone.config)
        assert shared.origins == alone.origins


def test_a_prefix_is_merged_once_for_all_who_share_it() -> None:
    merger = Merger()
    low, high = Layer(name="defaults@1", patch={"a": {"b": 1}}), Layer(name="x@1", patch={"c": 2})
    first = merger.effective([low, high])
    assert merger.effective([low, high]) is first
    assert merger.effective([low]).config["a"] is first.config["a"]


def leaves(value: Any, at: tuple[str, ...] = ()) -> dict[str, Any]:
    if isinstance(value, dict) and (value or not at):
        return {
            path: leaf for key, below in value.items() for path, leaf in
            leaves(below, (*at, key)).items()
        }  # fmt: skip
    return {pointer(at): value}


@given(STACKS)
def test_every_leaf_has_an_origin_and_the_origin_holds_its_value(layers: tuple[Layer, ...]) -> None:
    found = effective(layers)
    patches = {layer.name: layer.patch for layer in layers}
    assert found.origins.of.keys() == leaves(found.config).keys()
    for path, name in found.origins.of.items():
        value = find(found.config, path)
        said = find(patches[name], path)
        if value == {} and isinstance(value, dict):
            assert said == {} or isinstance(said, dict)
        else:
            assert same(said, value)


@given(STACKS)
def test_nothing_above_an_origin_speaks_of_its_path(layers: tuple[Layer, ...]) -> None:
    names = [layer.name for layer in layers]
    found = effective(layers)
    for path, name in found.origins.of.items():
        if find(found.config, path) == {}:
            continue
        for layer in layers[names.index(name) + 1 :]:
            assert find(layer.patch, path) is ABSENT


@given(STACKS)
def test_what_is_called_removed_was_there_and_is_not(layers: tuple[Layer, ...]) -> None:
    names = [layer.name for layer in layers]
    found = effective(layers)
    for path, name in found.origins.removed.items():
        at = names.index(name)
        assert find(found.config, path) is ABSENT
        assert find(effective(layers[:at]).config, path) is not ABSENT
        assert find(layers[at].patch, path) is None


def test_a_removal_is_explained_until_somebody_sets_it_again() -> None:
    low = Layer(name="defaults@1", patch={"agent": {"batch_s": 5, "log_level": "INFO"}})
    gone = Layer(name="group:eu@2", patch={"agent": {"batch_s": None, "heartbeat_s": None}})
    again = Layer(name="node:a@1", patch={"agent": {"batch_s": 9}})
    assert trace([low, gone]).removed == {"/agent/batch_s": "group:eu@2"}
    assert trace([low, gone, again]).removed == {}
    assert trace([low, gone, again]).of == {
        "/agent/log_level": "defaults@1",
        "/agent/batch_s": "node:a@1",
    }


@given(st.lists(KEYS, max_size=4))
def test_a_pointer_and_its_keys_are_each_others_inverse(keys: list[str]) -> None:
    assert keys_of(pointer(keys)) == keys


@given(PATCHES, PATCHES)
def test_no_differences_exactly_when_the_digests_are_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    before, after = merge({}, one), merge({}, other)
    found = differences(before, after)
    assert (not found) == (digest(before) == digest(after))
    for change in found:
        stood, stands = find(before, change.path), find(after, change.path)
        assert same(stood, ABSENT if change.kind == "added" else change.before)
        assert same(stands, ABSENT if change.kind == "removed" else change.after)


def test_differences_say_what_from_what() -> None:
    before = {"agent": {"batch_s": 5, "log_level": "INFO"}, "packages": {"vim": {}}}
    after = {"agent": {"batch_s": 5.0}, "files": {"/a": {"content": "x"}}, "packages": {"vim": {}}}
    assert differences(before, after) == [
        Change(path="/agent/batch_s", before=5, after=5.0, kind="changed"),
        Change(path="/agent/log_level", before="INFO", after=None, kind="removed"),
        Change(path="/files/~1a/content", before=None, after="x", kind="added"),
    ]


def nested(depth: int) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    for _ in range(depth - 1):
        patch = {"a": patch}
    return patch


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ([1], "an array"),
        (None, "null"),
        ("text", "a string"),
        (True, "a boolean"),
        ({"a": {"b": float("nan")}}, "/a/b: nan"),
        ({"a": [1, float("inf")]}, "/a/1: inf"),
        (nested(MAX_DEPTH + 1), "deeper than 32"),
        ({"a": 2**64}, "64-bit"),
        ({"a": "\ud800"}, "JSON"),
        ({"a": "x" * 600_000}, "600008 bytes"),
    ],
)
def test_what_can_be_no_layer_is_refused_with_the_reason(patch: Any, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        check_patch(patch)


def test_a_patch_as_deep_as_allowed_is_taken() -> None:
    assert check_patch(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
