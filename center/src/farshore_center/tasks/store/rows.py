"""Rows of the tables as records, and back."""

import itertools
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import orjson
from farshore_protocol.tasks import TaskSpec
from sqlalchemy import RowMapping

from farshore_center.tasks.model import instances
from farshore_center.tasks.records import Granted, Instance, Task

T = TypeVar("T", str, tuple[str, int], tuple[str, int, int])

_CHUNK = 300

_INSTANCE = tuple(column.name for column in instances.c)
INSTANCE_SET = tuple(name for name in _INSTANCE if name not in ("task", "instance", "version"))


@lru_cache(maxsize=4096)
def read_spec(text: str) -> TaskSpec:
    """What was checked when it was put."""
    return msgspec.json.decode(text.encode(), type=TaskSpec)


def write_spec(spec: TaskSpec) -> str:
    return msgspec.json.encode(spec, order="sorted").decode()


def read_task(row: RowMapping) -> Task:
    return Task(**{**row, "spec": read_spec(row["spec"])})


def task_columns(task: Task) -> dict[str, Any]:
    columns = {name: getattr(task, name) for name in Task.__slots__}
    return columns | {"spec": write_spec(task.spec)}


def read_instance(row: RowMapping) -> Instance:
    return Instance(**{**row, "avoid": tuple(orjson.loads(row["avoid"]))})


def instance_columns(each: Instance) -> dict[str, Any]:
    columns: dict[str, Any] = {name: getattr(each, name) for name in INSTANCE_SET}
    return columns | {"avoid": orjson.dumps(each.avoid).decode()}


def read_grant(row: RowMapping) -> Granted:
    columns: dict[str, Any] = dict(row)
    columns["gpus"] = tuple(orjson.loads(columns["gpus"]))
    columns["cpus"] = tuple(orjson.loads(columns["cpus"]))
    return Granted(**columns)


def grant_columns(each: Granted) -> dict[str, Any]:
    columns: dict[str, Any] = {name: getattr(each, name) for name in Granted.__slots__}
    return columns | {
        "gpus": orjson.dumps(each.gpus).decode(),
        "cpus": orjson.dumps(each.cpus).decode(),
    }


def chunks(keys: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(sorted(set(keys)))  # so that a seed replays to the byte
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk
