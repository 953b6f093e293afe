"""Specifications as people write them: valid ones, drawn at random, and what they are checked against."""

import json
from collections.abc import Mapping
from typing import Any

from farshore_center.selectors import parse
from farshore_center.tasks.checking import Known
from hypothesis import strategies as st

NOW_MS = 1_767_225_600_000
"""2026-01-01."""

SERVICE: Mapping[str, Any] = {
    "kind": "service",
    "driver": "process",
    "run": {"argv": ["/bin/sleep", "60"]},
}

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
SELECTORS = st.sampled_from(["all", "group:eu/**", "label.env=prod and not state=offline"])


def known(**more: Any) -> Known:
    given: dict[str, Any] = {
        "read": parse,
        "groups": frozenset({"", "eu", "eu/hamburg", "core"}),
        "nodes": frozenset({"pi-1"}),
        "policies": ("default", "best-fit", "fgd"),
        "drivers": {"process": 3},
        "settings": {},
    }
    return Known(**given | more)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def some(required: Mapping[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any choice of the optional fields."""
    return st.fixed_dictionaries(dict(required), optional=optional)


GPUS = st.one_of(
    some({}, count=st.integers(0, 8), models=st.lists(st.sampled_from(["T4", "A10"]), max_size=2)),
    some({}, milli=st.integers(1, 999)),
)
REQUESTS = some(
    {},
    cpu_cores=numbers(0.1, 64),
    memory_bytes=st.integers(0, 2**40),
    disk_bytes=st.integers(0, 2**40),
    gpu=GPUS,
    devices=st.lists(NAMES, unique=True, max_size=3),
)
DATA = st.fixed_dictionaries(
    {"where": st.sampled_from(["core", "node:pi-1", "group:eu"]), "bytes": st.integers(0, 2**50)}
)
HEALTH = st.one_of(
    st.just({"command": ["/bin/true"]}),
    st.just({"http": "http://127.0.0.1:8080/healthz", "interval_s": 2}),
    st.just({"tcp": "127.0.0.1:502", "failures": 1}),
)
ENV = st.dictionaries(
    st.from_regex(r"[A-EG-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True),
    st.one_of(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
        st.just({"config": "/app/camera/document", "default": "1"}),
    ),
    max_size=4,
)
DISCONNECT = some(
    {},
    on_disconnect=st.sampled_from(["keep", "stop"]),
    lost_after_s=numbers(10, 3600),
    replace=st.booleans(),
    on_reconnect=st.sampled_from(["keep_original", "keep_replacement"]),
    silent_site=st.sampled_from(["wait", "replace"]),
)
ARTIFACT = some(
    {
        "url": st.just("https://files.example/model.tar"),
        "digest": st.just("sha256:" + "0" * 64),
        "path": st.just("model"),
    },
    unpack=st.just(True),
)


def specs() -> st.SearchStrategy[dict[str, Any]]:
    """Valid ones, of both kinds, with any choice of fields."""
    both: dict[str, Any] = {
        "run": st.dictionaries(NAMES, st.integers(0, 2**53), max_size=3),
        "count": st.integers(1, 10_000),
        "requests": REQUESTS,
        "constraint": SELECTORS,
        "affinities": st.lists(
            st.fixed_dictionaries({"selector": SELECTORS}, optional={"weight": st.integers(-100, 100)}),
            max_size=2,
        ),
        "spread": st.lists(st.just({"over": "label.rack", "weight": 3}), max_size=1),
        "priority": st.integers(0, 100),
        "run_s": numbers(0.1, 3600),
        "reads": st.lists(DATA, max_size=2),
        "writes": st.lists(DATA, max_size=2),
        "where": st.sampled_from(["edge", "core", "auto"]),
        "battery_min_percent": numbers(0, 100),
        "restart": some({}, attempts=st.integers(0, 9), policy=st.sampled_from(["always", "never"])),
        "health": HEALTH,
        "stop_signal": st.sampled_from(["SIGTERM", "SIGINT"]),
        "stop_grace_s": numbers(0, 8),
        "artifacts": st.lists(ARTIFACT, max_size=1),
        "env": ENV,
        "group": st.sampled_from(["", "eu", "eu/hamburg"]),
        "disconnect": DISCONNECT,
        "policy": st.sampled_from(["default", "fgd"]),
    }  # fmt: skip
    batch = {"deadline_s": numbers(1, 3600), "cron": st.sampled_from(["0 2 * * *", "*/5 * * * *"])}
    fixed = {"driver": st.just("process")}
    return st.one_of(
        some({"kind": st.just("service"), **fixed}, **both),
        some({"kind": st.just("batch"), **fixed}, **both, **batch),
    ).map(lambda raw: json.loads(json.dumps(raw)))  # nothing is shared: a test may change it
