"""``farshore pool`` and ``quota`` against a center that a test moves."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.quotas import amount_bytes
from typer.testing import Result

if TYPE_CHECKING:
    from cli.conftest import ContractCenter


Cli = Callable[..., Result]


def share(nodes: int, cores: int, reserved: int, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("cpu_milli", "memory_bytes", "disk_bytes", "gpu_milli"), 0)
    return {
        "nodes": nodes, "online": nodes, "drained": 0, "told": nodes,
        "capacity": empty | {"cpu_milli": cores}, "reserved": empty | {"cpu_milli": reserved},
        "free": empty | {"cpu_milli": cores - reserved}, "closed": empty,
        "used": empty, "stranded": empty | {"cpu_milli": 250, "gpu_milli": None}, **more,
    }  # fmt: skip


def test_the_pool_in_all_and_by_group(center: "ContractCenter", cli: Cli) -> None:
    center.pool = {
        "total": share(3, 12_000, 1500),
        "groups": {"eu": share(2, 8000, 1500), "eu/hamburg": share(1, 4000, 0), "us": share(1, 4000, 0)},
    }  # fmt: skip
    shown = cli("pool").stdout.splitlines()
    assert shown[1].split() == ["cores", "12", "1.5", "10.5", "0", "0.25", "0"]
    assert "1.5 of 8 (19%)" in next(line for line in shown if line.startswith("eu "))
    assert shown[-1] == "3 nodes: 3 online"
    some = cli("pool", "--group", "eu").stdout
    assert "us" not in some
    assert "2 nodes: 2 online" in some
    assert cli("pool", "--group", "asia").stdout == "no node is in asia\n"
    assert json.loads(cli("--json", "pool").stdout) == center.pool
    center.pool["doubts"] = {
        "pi-3": ["cpu.cores_logical: 1e+18 is not believed; it counts as 4096"]
    }
    assert cli("pool").stdout.splitlines()[-1] == (
        "pi-3 says cpu.cores_logical: 1e+18 is not believed; it counts as 4096"
    )


def test_the_pool_by_node(center: "ContractCenter", cli: Cli) -> None:
    center.add_node("pi-1", group="eu")
    center.pool = {
        "total": share(2, 8000, 1000), "groups": {"eu": share(1, 4000, 1000)},
        "nodes": {"pi-1": share(1, 4000, 1000), "pi-2": share(1, 4000, 0)},
    }  # fmt: skip
    shown = cli("pool", "--nodes").stdout
    assert "1 of 4 (25%)" in shown
    assert "pi-2" in shown
    assert center.asked[0][2]["nodes"] == "true"
    assert "pi-2" not in cli("pool", "--nodes", "--group", "eu").stdout


def test_silos_are_told_in_a_sentence(center: "ContractCenter", cli: Cli) -> None:
    half = dict.fromkeys(("cpu_milli", "memory_bytes", "disk_bytes", "gpu_milli"), 0.5)
    center.pool = {
        "depth": 1,
        "together": {"nodes": 4, "asked": 4, "placed": 4, "utilisation": half},
        "apart": {
            "nodes": 4, "asked": 4, "placed": 3, "nodes_more": 1, "impossible": 0,
            "utilisation": half | {"gpu_milli": None},
        },
        "groups": {"": {"nodes": 4, "asked": 4, "placed": 3, "nodes_more": 1, "impossible": 0}},
    }  # fmt: skip
    lines = cli("pool", "--silos").stdout.splitlines()
    assert lines[1].split() == ["(no", "group)", "4", "4", "3", "1", "0"]
    assert lines[-1] == (
        "one pool: 4 of 4 instances placed; silos: 3, and 1 node more for the rest"
    )
    assert lines[-2].split() == ["silos", "50.0%", "50.0%", "50.0%", "-"]


def test_quotas_are_set_listed_and_deleted(center: "ContractCenter", cli: Cli) -> None:
    made = cli("quota", "set", "eu/hamburg", "--cores", "2", "--memory", "1.5GiB")
    assert made.exit_code == 0, made.output
    assert center.asked[0][3] == {"cpu_cores": 2.0, "memory_bytes": 1610612736}
    assert cli("quota", "list").stdout.splitlines()[1] == (
        "eu/hamburg  3 of 2  1.0 GiB of 1.5 GiB     -     -          -"
    )
    assert cli("quota", "delete", "eu/hamburg").exit_code == 0
    assert cli("quota", "list").stdout == "no quotas: farshore quota set --help\n"
    assert cli("quota", "set", "eu").exit_code == 2


@pytest.mark.parametrize(
    ("text", "amount"),
    [("512MiB", 2**29), ("1048576", 2**20), ("0", 0), ("2TiB", 2**41), ("7B", 7)],
)
def test_amounts_of_bytes(text: str, amount: int) -> None:
    assert amount_bytes("--memory", text) == amount


@pytest.mark.parametrize("text", ["", "4GB", "-1", "x", "1e999", "nanGiB", "4Gi"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(BadUsageError, match="expected a number"):
        amount_bytes("--memory", text)
