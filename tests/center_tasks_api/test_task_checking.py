"""A specification is taken as it was meant, or refused by the field."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from center_tasks_api.written import NOW_MS, SERVICE, known, specs
from farshore_center.api.problems import Problem
from farshore_center.tasks.checking import MAX_SPEC_BYTES, SCHEMA, accepted
from farshore_protocol.tasks import TaskSpec
from farshore_protocol.tasks.settings import SETTINGS
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=12,
)


def refusal(raw: Any, name: str = "camera", **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        accepted(name, raw, known(**more), NOW_MS)
    return caught.value


def blamed(raw: Any, **more: Any) -> dict[str, str]:
    return {each.field: each.detail for each in refusal(raw, **more).errors}


@given(specs())
def test_what_is_valid_is_taken_as_it_was_written(raw: dict[str, Any]) -> None:
    spec = accepted("camera", raw, known(), NOW_MS).spec
    back = msgspec.to_builtins(spec)
    assert holds(back, raw)
    assert msgspec.convert(back, TaskSpec) == spec


def holds(whole: Any, part: Any) -> bool:
    """Whether all that was said stands in the whole, which has the defaults beside it."""
    if isinstance(part, dict):
        return isinstance(whole, Mapping) and all(
            key in whole and holds(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return bool(whole == part)


def objects(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every object whose fields the type names: not ``run`` and ``env``, whose names are free."""
    if isinstance(value, dict):
        if path not in (("run",), ("env",)):
            yield path, value
        if path != ("run",):
            for key, below in value.items():
                yield from objects(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from objects(below, (*path, str(number)))


@given(specs(), st.data())
def test_a_field_that_is_not_known_is_refused_wherever_it_stands(
    raw: dict[str, Any], data: st.DataObject
) -> None:
    path, where = data.draw(st.sampled_from(list(objects(raw))))
    where["xyzzy"] = 1
    assert blamed(raw) == {".".join((*path, "xyzzy")): "there is no such field"}


@given(JSON)
def test_whatever_else_is_sent_is_refused_and_never_breaks(raw: Any) -> None:
    assert refusal(raw).status == 422


@given(specs(), JSON, st.data())
def test_a_wrong_value_in_a_good_specification_is_refused_or_taken_but_never_breaks(
    raw: dict[str, Any], junk: Any, data: st.DataObject
) -> None:
    _, where = data.draw(st.sampled_from(list(objects(raw))))
    where[data.draw(st.sampled_from(sorted(where) or ["count"]))] = junk
    errors: Any = None
    try:
        spec = accepted("camera", raw, known(), NOW_MS).spec
    except Problem as exc:
        errors = exc.errors
    if errors is None:
        assert holds(msgspec.to_builtins(spec), {k: v for k, v in raw.items() if v is not None})
    else:
        assert errors
        assert all(each.field and each.detail for each in errors)


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"cuont": 2}, "cuont", "did you mean count?"),
        ({"requests": {"cpu_core": 2}}, "requests.cpu_core", "did you mean cpu_cores?"),
        ({"requests": {"gpu": {"count": 1, "milli": 500}}}, "requests.gpu", "not both"),
        ({"count": 1.0}, "count", "Expected `int`"),
        ({"count": 0}, "count", "minimum of 1"),
        ({"kind": "job"}, "kind", "is not one of"),
        ({"cron": "0 2 * * *"}, "cron", "a service runs all the time"),
        ({"kind": "batch", "cron": "0 2 * *"}, "cron", "0 2 * *"),
        ({"kind": "batch", "cron": "0 0 30 2 *"}, "cron", "Bad day-of-month"),
        ({"deadline_s": 5}, "deadline_s", "a service has no end"),
        ({"health": {}}, "health", "just one of command, http, tcp"),
        ({"health": {"tcp": "camera"}}, "health.tcp", "camera"),
        ({"health": {"http": "camera:80"}}, "health.http", "camera:80"),
        ({"group": "us"}, "group", "there is no group 'us'"),
        ({"policy": "best-fti"}, "policy", "did you mean best-fit?"),
        ({"driver": "proces"}, "driver", "did you mean process?"),
        ({"stop_signal": "SIGFOO"}, "stop_signal", "there is no signal"),
        ({"env": {"2X": "1"}}, "env.2X", "no name of a variable"),
        ({"env": {"FARSHORE_EPOCH": "1"}}, "env.FARSHORE_EPOCH", "the agent sets"),
        ({"env": {"A": {"config": "/a~2"}}}, "env.A.config", "no JSON pointer"),
        ({"env": {"A": {"config": "/a", "defualt": ""}}}, "env.A.defualt", "did you mean default?"),
        ({"env": {"A": 3}}, "env.A", "3"),
        ({"env": {"A": "\0"}}, "env.A", "NUL"),
        ({"limits": {"memory_bytes": 1024}}, "limits.memory_bytes", "less than requests"),
        ({"limits": {"pin_cpus": True}, "requests": {"cpu_cores": 0}}, "limits.pin_cpus", "is 0"),
        ({"restart": {"delay_s": 61}}, "restart.delay_s", "more than delay_max_s"),
        ({"requests": {"devices": ["cam", "cam"]}}, "requests.devices", "named twice"),
        ({"deadline_s": math.nan}, "deadline_s", "no number of JSON"),
        (
            {"disconnect": {"on_disconnect": "stop", "lost_after_s": 5}},
            "disconnect.lost_after_s",
            "no time to stop",
        ),
        (
            {"artifacts": [{"url": "http://files.example/a", "digest": "sha256:" + "0" * 64, "path": "a"}]},
            "artifacts.0.url",
            "loopback",
        ),
        (
            {"artifacts": [{"url": "https://x/a", "digest": "sha256:" + "0" * 64, "path": "a/../../b"}]},
            "artifacts.0.path",
            "a/../../b",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_the_field(change: dict[str, Any], field: str, says: str) -> None:
    found = blamed({**copy.deepcopy(SERVICE), **change})
    assert list(found) == [field]
    assert says in found[field] + str(refusal({**SERVICE, **change}).errors[0].expected)


def test_all_that_is_wrong_is_said_at_once() -> None:
    raw = {**SERVICE, "group": "us", "driver": "wasm", "constraint": "label.env=", "policy": "x"}
    assert set(blamed(raw)) == {"group", "driver", "constraint", "policy"}


def test_a_selector_that_cannot_be_read_is_shown_with_the_place() -> None:
    problem = refusal({**SERVICE, "affinities": [{"selector": "label.env=prod and", "weight": 1}]})
    assert [each.field for each in problem.errors] == ["affinities.0.selector"]
    shown = problem.extra["selector"]
    assert shown["text"] == "label.env=prod and"
    assert shown["column"] == len("label.env=prod and") + 1
    assert shown["expected"]


@pytest.mark.parametrize("name", ["", "Camera", "a/b", "x" * 65, "-a"])
def test_a_task_has_a_name_that_can_stand_on_the_wire(name: str) -> None:
    assert refusal(SERVICE, name).errors[0].field == "name"


@pytest.mark.parametrize("raw", [None, [], "task", 3])
def test_a_specification_is_an_object(raw: Any) -> None:
    assert refusal(raw).errors[0].field == "spec"


def test_a_specification_has_a_largest_size() -> None:
    raw = {**SERVICE, "run": {"argv": ["x" * MAX_SPEC_BYTES]}}
    assert f"{MAX_SPEC_BYTES} bytes or fewer" in refusal(raw).errors[0].expected


def test_a_driver_of_which_nobody_knows_is_noted_with_what_cannot_be_checked() -> None:
    raw = {"kind": "batch", "driver": "container", "run": {"image": "x"}}
    notes = {note.field: note.detail for note in accepted("job", raw, known(), NOW_MS).notes}
    assert notes == {
        "driver": "no node has announced the driver container yet",
        "run": "the settings of the driver container are not known here; the node checks them",
    }


@pytest.mark.parametrize(
    ("driver", "run", "field", "says"),
    [
        ("process", {"argv": ["x"], "usr": "root"}, "run.usr", "did you mean user?"),
        ("process", {}, "run", "argv"),
        ("process", {"argv": "x"}, "run.argv", "array"),
        ("python", {"entry": "main"}, "run.entry", "main"),
        ("python", {"entry": "a:b", "requirements": ["a @ b"]}, "run.requirements", "an address"),
        ("container", {"image": "x", "network": "host", "ports": [{"host": 1, "container": 1}]},
         "run.ports", "nothing to publish"),
        ("container", {"image": "x", "mounts": [{"source": "a", "target": "/a"}]},
         "run.mounts.0.source", "a"),
    ],
)  # fmt: skip
def test_settings_of_the_drivers_that_come_with_it_are_checked(
    driver: str, run: dict[str, Any], field: str, says: str
) -> None:
    found = blamed({"kind": "batch", "driver": driver, "run": run}, settings=SETTINGS)
    assert list(found) == [field]
    assert says in found[field]


def test_settings_that_were_checked_need_no_note() -> None:
    assert accepted("camera", SERVICE, known(settings=SETTINGS), NOW_MS).notes == ()


def test_settings_of_a_plugin_are_the_nodes_business() -> None:
    raw = {"kind": "batch", "driver": "wasm", "run": {"module": "x"}}
    made = accepted("t", raw, known(settings=SETTINGS, drivers={"wasm": 1}), NOW_MS)
    assert [note.field for note in made.notes] == ["run"]


def test_what_no_node_has_is_noted_and_not_refused() -> None:
    asked = {"cpu_cores": 64, "memory_bytes": 2**36, "gpu": {"milli": 500}}
    raw = {**SERVICE, "requests": asked}
    largest = {"cpu_milli": 16_000, "memory_bytes": 2**35, "disk_bytes": 0, "gpu_milli": 0}
    made = accepted("big", raw, known(largest=largest), NOW_MS)
    notes = {note.field: note.detail for note in made.notes if note.field != "run"}
    assert notes == {
        "requests.cpu_cores": "64 in one instance; no known node has more than 16",
        "requests.memory_bytes": "68,719,476,736 in one instance; no known node has more than "
        "34,359,738,368",
        "requests.gpu": "0.5 in one instance; no known node has more than 0",
    }


@pytest.mark.parametrize(
    ("limits", "noted"), [({}, False), ({"memory_bytes": 2**30}, True), ({"pin_cpus": True}, True)]
)
def test_limits_that_nobody_holds_are_noted(limits: dict[str, Any], noted: bool) -> None:
    work = {"kind": "batch", "driver": "dask", "run": {"entry": "a:b"}, "limits": limits}
    notes = {note.field: note.detail for note in accepted("t", work, known(), NOW_MS).notes}
    assert notes.get("limits") == (
        "the driver dask hands work to a cluster, whose workers have their own limits"
        if noted
        else None
    )


def test_devices_and_models_that_no_node_has_are_noted() -> None:
    asked = {"devices": ["camera", "gps"], "gpu": {"count": 1, "models": ["A100"]}}
    there = {"devices": ("camera0", "gps"), "gpu_models": ("T4", "A10")}
    largest = {"cpu_milli": 1000, "memory_bytes": 2**35, "disk_bytes": 0, "gpu_milli": 4000}
    made = accepted("t", {**SERVICE, "requests": asked}, known(largest=largest, **there), NOW_MS)
    assert {note.field: note.detail for note in made.notes if note.field != "run"} == {
        "requests.devices": "no known node has a device 'camera'; did you mean camera0?",
        "requests.gpu.models": "no known node has a GPU of one of these models; there are A10, T4",
    }


def test_data_that_lies_at_an_unknown_place_is_noted() -> None:
    raw = {
        **SERVICE,
        "reads": [{"where": "node:pi-9", "bytes": 5}, {"where": "group:eu", "bytes": 5}],
    }
    notes = [note for note in accepted("t", raw, known(), NOW_MS).notes if note.field != "run"]
    assert [(note.field, note.detail) for note in notes] == [
        ("reads.0.where", "there is no node 'pi-9' now")
    ]


def test_the_schema_is_one_that_others_can_use() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    validator = Draft202012Validator(SCHEMA)
    assert validator.is_valid(SERVICE)
    assert not validator.is_valid({**SERVICE, "cuont": 2})
    assert not validator.is_valid({"kind": "service"})
