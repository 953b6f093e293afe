"""A specification as somebody wrote it, read into ``TaskSpec``; what is wrong is said by field. Pure.

The schema is made from the type, so both say the same. A field that is not known is refused with a
near one: a typing error must not become a default. Whether the nodes have room is not asked here:
that changes, and placement explains it.
"""

import math
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
from farshore_protocol.commands.schema import message_schema
from farshore_protocol.config.pointer import keys_of
from farshore_protocol.names import is_name
from farshore_protocol.tasks import TaskSpec
from farshore_protocol.tasks.settings import SETTINGS
from farshore_protocol.tasks.spec import Limits

from farshore_center.api.problems import FieldError, Problem
from farshore_center.commands.request import NOT_VALID, near_verbs
from farshore_center.config.schema import Schema, Violation, closed
from farshore_center.selectors import SelectorError
from farshore_center.tasks.rules import Fault, faults, fits

MAX_SPEC_BYTES = 64 * 1024
"""Of a specification as JSON: ``desired/tasks`` of a node holds several."""

BUILT_IN_DRIVERS = frozenset(SETTINGS)
"""Taken before any node has announced them."""

LIMITLESS = frozenset({"dask"})
"""Drivers that hand work to a cluster, where no node holds its limits."""

NOT_NAMES = frozenset({"schema"})
"""What stands below ``/tasks`` beside the tasks."""

SCHEMA: dict[str, Any] = closed(message_schema(TaskSpec))
"""JSON Schema (2020-12) of a specification, as ``GET /tasks/schema`` gives it."""

_SCHEMA = Schema(SCHEMA)

Read = Callable[[str], object]
"""Reads a selector; raises SelectorError for a bad one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a specification is compared with.

    ``drivers``: driver → how many nodes have announced it. ``settings``: driver → the type of its
    settings, where it is known. ``largest``: the most that one node has, in thousandths and bytes; None:
    no node has said what it has; ``devices``, ``gpu_models``: those that some node has.
    """

    read: Read
    groups: Container[str]
    nodes: Container[str] = frozenset()
    policies: Collection[str] = ()
    drivers: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, type[Any]] = field(default_factory=lambda: SETTINGS)
    largest: Mapping[str, int] | None = None
    devices: Collection[str] = ()
    gpu_models: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """``notes``: what its author should know, though it can be taken."""

    spec: TaskSpec
    notes: tuple[FieldError, ...] = ()


def accepted(name: str, raw: Any, known: Known, now_ms: int) -> Accepted:
    """The specification, or one Problem with all that is wrong."""
    if not is_name(name) or name in NOT_NAMES:
        raise Problem(
            status=422,
            title=NOT_VALID,
            field="name",
            detail=f"{name[:80]!a} is no name of a task",
            expected="1 to 64 of a-z, 0-9, '_', '-', beginning with a letter or digit; not schema",
        )
    spec, found = _read(raw)
    if spec is not None:
        found = [*faults(spec, now_ms), *_strangers(spec, known), *_settings(spec, known)]
    unread: list[SelectorError] = []
    errors = [_field_error(each, unread) for each in [*found, *_selectors(spec, known)]]
    if spec is None or errors:
        detail = "; ".join(f"{each.field}: {each.detail}" for each in errors)
        # The command line shows the place of a selector alone, so only where it is all.
        extra = _placed(unread[0]) if len(errors) == len(unread) == 1 else {}
        raise Problem(status=422, title=NOT_VALID, detail=detail, errors=errors, extra=extra)
    return Accepted(spec=spec, notes=tuple(_notes(spec, known)))


def _read(raw: Any) -> tuple[TaskSpec | None, list[Fault]]:
    """By the schema, which names the place; what it does not see, the type says."""
    wrong = _not_json(raw)
    if wrong is not None:
        return None, [wrong]
    violations = _SCHEMA.check(raw, "")
    if violations:
        return None, [_violated(each) for each in violations]
    try:
        return msgspec.convert(raw, TaskSpec), []
    except msgspec.ValidationError as exc:
        return None, [_by_type(str(exc))]


def _not_json(raw: Any) -> Fault | None:
    if not isinstance(raw, dict):
        return Fault("spec", f"{type(raw).__name__}", "an object: a specification of a task")
    try:
        size = len(orjson.dumps(raw))
    except TypeError as exc:
        return Fault("spec", f"can't be written as JSON: {exc}", "JSON with valid Unicode text")
    if size > MAX_SPEC_BYTES:
        return Fault("spec", f"{size} bytes as JSON", f"{MAX_SPEC_BYTES} bytes or fewer")
    return next(_unsayable(raw, ()), None)


def _unsayable(value: Any, path: tuple[str, ...]) -> Iterator[Fault]:
    """NUL, which no environment and no argument vector can hold; numbers that JSON has not."""
    where = ".".join(path)
    if isinstance(value, str) and "\0" in value:
        yield Fault(where, "holds the character NUL", "text without it")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Fault(where, f"{value} is no number of JSON", "a finite number")
    elif isinstance(value, dict):
        for key, below in value.items():
            if "\0" in key:
                yield Fault(where or "spec", "a name holds the character NUL", "text without it")
            yield from _unsayable(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _unsayable(below, (*path, str(number)))


def dotted(pointer: str) -> str:
    """``/requests/gpu/count`` as ``requests.gpu.count``."""
    return ".".join(keys_of(pointer)) or "spec"


def _violated(violation: Violation) -> Fault:
    return Fault(dotted(violation.path), violation.message)


def _by_type(message: str, below: str = "") -> Fault:
    """``gpu: either count … - at `$.requests.gpu``` or ``Expected `int`, got `float` - at `$.count```."""
    said, _, at = message.partition(" - at `$")
    place = f"{below}.{at.rstrip('`').lstrip('.')}".strip(".")
    name, colon, rest = said.partition(": ")
    if not colon or " " in name:
        return Fault(place or "spec", said)
    if place.rpartition(".")[2] != name:  # a rule of the whole names the field itself
        place = f"{place}.{name}".lstrip(".")
    detail, _, expected = rest.partition("; expected ")
    return Fault(place, detail, expected)


def _selectors(spec: TaskSpec | None, known: Known) -> Iterator[Fault]:
    if spec is None:
        return
    texts = {"constraint": spec.constraint} | {
        f"affinities.{number}.selector": each.selector
        for number, each in enumerate(spec.affinities)
    }
    for where, text in texts.items():
        try:
            known.read(text)
        except SelectorError as exc:
            exc.text = text
            yield Fault(where, str(exc), exc.expected, cause=exc)


def _strangers(spec: TaskSpec, known: Known) -> Iterator[Fault]:
    """Names that nothing has."""
    if spec.group and spec.group not in known.groups:
        yield Fault(
            "group",
            f"there is no group {spec.group[:200]!a}",
            "a group of the tree, or nothing for none",
        )
    if spec.policy is not None and spec.policy not in known.policies:
        near = near_verbs(spec.policy, known.policies)
        yield Fault(
            "policy",
            f"there is no policy {spec.policy!a}{near}",
            f"one of {', '.join(sorted(known.policies))}" if known.policies else "",
        )
    drivers = BUILT_IN_DRIVERS | known.drivers.keys()
    if spec.driver not in drivers:
        yield Fault(
            "driver",
            f"no node has announced the driver {spec.driver!a}{near_verbs(spec.driver, drivers)}",
            f"one of {', '.join(sorted(drivers))}",
        )


def _settings(spec: TaskSpec, known: Known) -> Iterator[Fault]:
    kind = known.settings.get(spec.driver)
    if kind is None:
        return
    violations = Schema(closed(message_schema(kind))).check(spec.run, "/run")
    yield from map(_violated, violations)
    if violations:
        return
    try:
        msgspec.convert(spec.run, kind)
    except msgspec.ValidationError as exc:
        yield _by_type(str(exc), "run")


def _notes(spec: TaskSpec, known: Known) -> Iterator[FieldError]:
    if not known.drivers.get(spec.driver):
        yield FieldError(
            field="driver", detail=f"no node has announced the driver {spec.driver} yet"
        )
    if spec.driver not in known.settings:
        yield FieldError(
            field="run",
            detail=f"the settings of the driver {spec.driver} are not known here; the node checks them",
        )
    if spec.driver in LIMITLESS and spec.limits != Limits():
        yield FieldError(
            field="limits",
            detail=f"the driver {spec.driver} hands work to a cluster, whose workers have their own limits",
        )
    if known.largest is not None:
        yield from fits(spec, known.largest)
        yield from _nobody_has(spec, known)
    for where, data in (
        *((f"reads.{n}.where", each) for n, each in enumerate(spec.reads)),
        *((f"writes.{n}.where", each) for n, each in enumerate(spec.writes)),
    ):
        kind, _, name = data.where.partition(":")
        places = {"node": known.nodes, "group": known.groups}.get(kind)
        if places is not None and name not in places:
            yield FieldError(field=where, detail=f"there is no {kind} {name[:200]!a} now")


def _nobody_has(spec: TaskSpec, known: Known) -> Iterator[FieldError]:
    """Devices and models of GPUs by name."""
    for name in spec.requests.devices:
        if name not in known.devices:
            yield FieldError(
                field="requests.devices",
                detail=f"no known node has a device {name[:64]!a}{near_verbs(name, known.devices)}",
            )
    models = spec.requests.gpu.models
    if models and known.gpu_models and not set(models) & set(known.gpu_models):
        named = ", ".join(sorted(known.gpu_models)[:8])
        yield FieldError(
            field="requests.gpu.models",
            detail=f"no known node has a GPU of one of these models; there are {named[:400]}",
        )


def _field_error(fault: Fault, unread: list[SelectorError]) -> FieldError:
    if isinstance(fault.cause, SelectorError):
        unread.append(fault.cause)
    return FieldError(field=fault.field, detail=fault.detail, expected=fault.expected)


def _placed(exc: SelectorError) -> dict[str, Any]:
    """As ``groups.selection.selector_problem`` tells of a selector."""
    return {
        "selector": {
            "text": exc.text,
            "column": exc.column,
            "detail": exc.detail,
            "expected": exc.expected,
            "near": list(exc.near),
        }
    }
