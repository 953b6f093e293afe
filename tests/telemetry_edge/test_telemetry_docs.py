"""docs/telemetry.md lists what exists, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.facts.host import host_facts
from farshore_edge.telemetry.collectors import (
    disk,
    filesystem,
    gpu,
    network,
    processor,
    temperature,
)
from farshore_edge.telemetry.collectors.catalogue import CATALOGUE
from farshore_sim.hardware import SimulatedHardware
from farshore_sim.hardware.profiles import PROFILES

PAGE = (Path(__file__).parents[2] / "docs/telemetry.md").read_text()


def table(first_column: str) -> list[list[str]]:
    """The rows of the page's table whose first column has that title."""
    lines = PAGE.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list):
        yield f"{prefix}[]"
        for inner in value:
            if isinstance(inner, dict):
                yield from paths(inner, f"{prefix}[]")
    else:
        yield prefix


def test_the_table_of_series_is_the_catalogue() -> None:
    expected = [
        [f"`{e.pattern}`", e.unit, e.kind, f"`{e.otel}`" if e.otel else "–", e.description]
        for e in CATALOGUE
    ]
    assert table("series") == expected


def test_no_series_is_described_twice() -> None:
    assert len({entry.pattern for entry in CATALOGUE}) == len(CATALOGUE)


def test_the_limits_are_those_of_the_code() -> None:
    limits = {row[0]: row[3] for row in table("collector")}
    assert limits["cpu"] == f"{processor.CORES_MAX} cores"
    assert limits["filesystem"] == f"{filesystem.FILE_SYSTEMS_MAX} file systems"
    assert limits["disk"] == f"{disk.DISKS_MAX} disks"
    assert limits["network"] == f"{network.INTERFACES_MAX} interfaces"
    assert limits["temperature"] == f"{temperature.SENSORS_MAX} sensors"
    assert limits["gpu"] == f"{gpu.GPUS_MAX} GPUs"


def test_every_profile_is_described() -> None:
    assert {row[0].strip("`") for row in table("profile")} == set(PROFILES)


@pytest.fixture
def found_paths(pi_root: Path, vm_root: Path, gpu_root: Path, container_root: Path) -> set[str]:
    trees = [host_facts(root) for root in (pi_root, vm_root, gpu_root, container_root)]
    trees.append(host_facts())
    trees += [
        SimulatedHardware(node="n1", seed=1, now_s=lambda: 0.0, profile=name).facts()
        for name in PROFILES
    ]
    return {path for tree in trees for path in paths(tree)}


def test_the_table_of_facts_is_what_machines_tell(found_paths: set[str]) -> None:
    documented = [re.sub("`", "", row[0]) for row in table("fact")]
    assert len(documented) == len(set(documented))
    # A list of tables is documented by its elements' fields.
    found = {
        path
        for path in found_paths
        if path not in {p.split(".")[0] for p in documented if "[]." in p}
    }
    assert found == set(documented)


def test_simulated_machines_tell_what_a_real_one_tells(pi_root: Path) -> None:
    real = {path for path in paths(host_facts(pi_root)) if not path.startswith(("board", "gpus"))}
    for name in PROFILES:
        hardware = SimulatedHardware(node="n1", seed=1, now_s=lambda: 0.0, profile=name)
        missing = real - set(paths(hardware.facts())) - {"interfaces[].speed_mbps"}
        assert not missing, name
