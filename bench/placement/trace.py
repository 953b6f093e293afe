"""Traces of the form of openb (Alibaba's cluster-trace-gpu-v2023): nodes and tasks as CSV files."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from farshore_center.placement import Demand, NodeCapacity, PlacementError

from bench.errors import BenchError

T = TypeVar("T")
MIB = 1 << 20
WHOLE = 1000
NODES, TASKS = "*node_list*.csv", "*pod_list_*.csv"
FORM = (
    f"a trace is a folder with one {NODES} (sn, cpu_milli, memory_mib, gpu, model) and files {TASKS} "
    "(cpu_milli, memory_mib, num_gpu, gpu_milli, gpu_spec)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Nodes, and tasks in the order of the file."""

    name: str
    nodes: tuple[NodeCapacity, ...]
    tasks: tuple[Demand, ...]

    @property
    def gpus(self) -> int:
        return sum(len(node.gpus) for node in self.nodes)


def traces(folder: Path) -> list[Trace]:
    """One for each file of tasks. Raises ``BenchError`` that says what is missing, and where."""
    if not folder.is_dir():
        raise BenchError(f"{folder} is no folder; {FORM}")
    found, files = sorted(folder.glob(NODES)), sorted(folder.glob(TASKS), reverse=True)
    if len(found) != 1 or not files:
        raise BenchError(
            f"{folder} has {len(found)} files {NODES} and {len(files)} files {TASKS}; {FORM}"
        )
    nodes = tuple(_read(found[0], _node))
    return [
        Trace(
            name=file.stem.partition("pod_list_")[2], nodes=nodes, tasks=tuple(_read(file, _task))
        )
        for file in files
    ]


def _read(file: Path, take: Callable[[Mapping[str, str]], T]) -> list[T]:
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            found.append(take(row))
        except (KeyError, TypeError, ValueError, PlacementError) as exc:
            what = f"no column {exc}" if isinstance(exc, KeyError) else exc
            raise BenchError(f"{file.name}, line {number}: {what}; {FORM}") from exc
    if not found:
        raise BenchError(f"{file.name} is empty; {FORM}")
    return found


def _node(row: Mapping[str, str]) -> NodeCapacity:
    return NodeCapacity(
        node=row["sn"],
        cpu_milli=int(row["cpu_milli"]),
        memory_bytes=int(row["memory_mib"]) * MIB,
        gpus=(row["model"],) * int(row["gpu"]),
    )


def _task(row: Mapping[str, str]) -> Demand:
    count, milli = int(row["num_gpu"]), int(row["gpu_milli"] or 0)
    if count > 1 and milli != WHOLE:
        raise ValueError(f"{count} GPUs of {milli} thousandths each: several are whole ones")
    return Demand(
        cpu_milli=int(row["cpu_milli"]),
        memory_bytes=int(row["memory_mib"]) * MIB,
        gpus=count if milli == WHOLE else 0,
        gpu_milli=milli if count == 1 and milli < WHOLE else 0,
        gpu_models=frozenset(row["gpu_spec"].split("|")) if row["gpu_spec"] else frozenset(),
    )
