"""What a specification is compared with comes from what nodes have said."""

from farshore_center.placement import NodeCapacity
from farshore_center.tasks.known import counts, largest


def test_the_most_that_one_node_has_by_resource() -> None:
    nodes = [
        NodeCapacity(node="a", cpu_milli=4000, memory_bytes=8, gpus=("T4", "T4")),
        NodeCapacity(node="b", cpu_milli=16_500, memory_bytes=4),
    ]
    assert largest(nodes) == {
        "cpu_cores": 16.5, "memory_bytes": 8.0, "disk_bytes": 0.0, "gpus": 2.0,
    }  # fmt: skip


def test_of_no_node_nothing_is_known() -> None:
    assert largest([]) is None


def test_drivers_are_counted_by_node() -> None:
    assert counts([("process", "process"), (), ("process", "python")]) == {
        "process": 2, "python": 1,
    }  # fmt: skip
