"""Instances, nodes and what a center knows of them, for looks of the engine."""

from typing import Any

from farshore_center.tasks.engine import Rules
from farshore_center.tasks.records import Granted, Instance, Task
from farshore_center.tasks.sites import Sight
from farshore_center.tasks.work import View, World
from farshore_protocol.tasks import Disconnect, TaskSpec

RULES = Rules()
NODES = ("n1", "n2", "n3")


def spec(**more: Any) -> TaskSpec:
    defaults: dict[str, Any] = {"kind": "service", "driver": "process"}
    return TaskSpec(**defaults | more)


def contract(on_disconnect: str = "keep", **more: Any) -> Disconnect:
    defaults: dict[str, Any] = {"on_disconnect": on_disconnect, "lost_after_s": 10.0}
    return Disconnect(**defaults | more)


def task(of: TaskSpec, **more: Any) -> Task:
    defaults: dict[str, Any] = {"name": "t", "revision": 1, "spec": of, "digest": "d"}
    return Task(**defaults | more)


def granted(**more: Any) -> Granted:
    defaults: dict[str, Any] = {
        "task": "t",
        "instance": 0,
        "epoch": 5,
        "node": "n1",
        "state": "running",
    }
    return Granted(**defaults | more)


def at_work(**more: Any) -> Instance:
    defaults: dict[str, Any] = {
        "task": "t",
        "instance": 0,
        "state": "active",
        "epoch": 5,
        "last_epoch": 5,
    }
    return Instance(**defaults | more)


def seen(
    *grants: Granted, of: TaskSpec | None = None, instance: Instance | None = None, **more: Any
) -> View:
    return View(
        task=task(of or spec(disconnect=contract()), **more),
        instance=instance or at_work(),
        grants={grant.epoch: grant for grant in grants},
    )


def world(now_s: float = 100.0, sights: dict[str, Sight] | None = None, **more: Any) -> World:
    fine = {node: Sight() for node in NODES}
    return World(now_ms=round(now_s * 1000), now_s=now_s, sights=fine | (sights or {}), **more)
