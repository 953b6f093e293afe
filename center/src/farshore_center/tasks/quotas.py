"""How much the tasks of a group's subtree may reserve together. Pure.

A quota is asked when a task is put or started, by what it requests and however little it uses; where
the task will run is placement's business. Amounts are whole thousandths and bytes, so that sums are
exact.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from farshore_protocol.tasks import TaskSpec

from farshore_center.api.problems import FieldError, Problem
from farshore_center.groups.tree import in_subtree
from farshore_center.tasks.demands import milli_of

Resource = Literal["cpu_milli", "memory_bytes", "disk_bytes", "gpu_milli", "instances"]
RESOURCES: tuple[Resource, ...] = get_args(Resource)

SHOWN: Mapping[Resource, tuple[str, int]] = {
    "cpu_milli": ("cpu_cores", 1000),
    "memory_bytes": ("memory_bytes", 1),
    "disk_bytes": ("disk_bytes", 1),
    "gpu_milli": ("gpus", 1000),
    "instances": ("instances", 1),
}
"""As people name and count a resource."""

_FIELDS: Mapping[Resource, str] = {
    "cpu_milli": "requests.cpu_cores",
    "memory_bytes": "requests.memory_bytes",
    "disk_bytes": "requests.disk_bytes",
    "gpu_milli": "requests.gpu",
    "instances": "count",
}

Amounts = Mapping[Resource, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """``group``: its subtree, ``""`` the whole fleet. None: no limit of that resource."""

    group: str
    cpu_milli: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    gpu_milli: int | None = None
    instances: int | None = None
    revision: int = 1
    updated_ms: int = 0
    author: str = "api"

    def limits(self) -> dict[Resource, int]:
        return {name: most for name in RESOURCES if (most := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What all instances of a task reserve together, for the group that it counts for."""

    task: str
    group: str
    amounts: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """A quota that does not allow it; ``used``: by the other tasks. In thousandths or bytes."""

    group: str
    resource: Resource
    asked: int
    used: int
    allowed: int

    def sentence(self) -> str:
        whose = f"the group {self.group}" if self.group else "the whole fleet"
        left = max(0, self.allowed - self.used)
        asked, left_, allowed, used = (
            _number(self.resource, n) for n in (self.asked, left, self.allowed, self.used)
        )
        return (
            f"{asked} {SHOWN[self.resource][0]} asked for, {left_} left: "
            f"{whose} may have {allowed}, other tasks have {used}"
        )


def use_of(name: str, spec: TaskSpec) -> Use:
    requests, count = spec.requests, spec.count
    return Use(
        task=name,
        group=spec.group,
        amounts={
            "cpu_milli": milli_of(requests.cpu_cores) * count,
            "memory_bytes": requests.memory_bytes * count,
            "disk_bytes": requests.disk_bytes * count,
            "gpu_milli": (requests.gpu.count * 1000 + requests.gpu.milli) * count,
            "instances": count,
        },
    )


def used(uses: Iterable[Use], group: str) -> dict[Resource, int]:
    """What the tasks of a subtree reserve together."""
    total = dict.fromkeys(RESOURCES, 0)
    for use in uses:
        if not group or in_subtree(use.group, group):
            for name in RESOURCES:
                total[name] += use.amounts.get(name, 0)
    return total


def overs(quotas: Iterable[Quota], uses: Sequence[Use], asked: Use) -> list[Over]:
    """What stands against ``asked``, beside or in place of the same task among ``uses``.

    A task that takes no more of a resource in the subtree than it did is never refused for it: a quota
    that was lowered below what is used takes nothing away, and does not hinder giving back.
    """
    others = [use for use in uses if use.task != asked.task]
    before = [use for use in uses if use.task == asked.task]
    found = []
    for quota in quotas:
        if quota.group and not in_subtree(asked.group, quota.group):
            continue
        taken, had = used(others, quota.group), used(before, quota.group)
        for name, most in quota.limits().items():
            amount = asked.amounts.get(name, 0)
            if amount > had[name] and taken[name] + amount > most:
                found.append(
                    Over(
                        group=quota.group,
                        resource=name,
                        asked=amount,
                        used=taken[name],
                        allowed=most,
                    )
                )
    return found


def refused(found: Sequence[Over]) -> Problem:
    errors = [
        FieldError(field=_FIELDS[each.resource], detail=each.sentence(), expected=_least(each))
        for each in found
    ]
    return Problem(
        status=409,
        title="The quota does not allow it",
        detail="; ".join(f"{each.field}: {each.detail}" for each in errors),
        errors=errors,
        extra={"quota": [_document(each) for each in found]},
    )


def quota_document(quota: Quota, uses: Iterable[Use]) -> dict[str, Any]:
    """As the API shows it: what is allowed and what is used, by the names of people."""
    taken = used(uses, quota.group)
    limits = quota.limits()
    return {
        "group": quota.group,
        "allowed": {SHOWN[name][0]: shown(name, limits.get(name)) for name in RESOURCES},
        "used": {SHOWN[name][0]: shown(name, taken[name]) for name in RESOURCES},
        "revision": quota.revision,
        "author": quota.author,
    }


def shown(resource: Resource, amount: int | None) -> float | int | None:
    """Thousandths as whole cores and GPUs."""
    scale = SHOWN[resource][1]
    return amount if amount is None or scale == 1 else amount / scale


def _least(over: Over) -> str:
    left = over.allowed - over.used
    return (
        f"{_number(over.resource, left)} or less over all instances" if left > 0 else "nothing more"
    )


def _number(resource: Resource, amount: int) -> str:
    scale = SHOWN[resource][1]
    return f"{amount / scale:g}" if scale > 1 else f"{amount:,}"


def _document(over: Over) -> dict[str, Any]:
    found = asdict(over) | {"resource": SHOWN[over.resource][0]}
    return found | {
        name: shown(over.resource, getattr(over, name)) for name in ("asked", "used", "allowed")
    }
