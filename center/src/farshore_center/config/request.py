"""Changes as somebody asks for them, and the problems that they may have. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from farshore_protocol.config.layers import check_patch
from farshore_protocol.errors import MessageError

from farshore_center.api.problems import FieldError, Problem
from farshore_center.config.address import Address
from farshore_center.config.plan import Fault

NOT_VALID = "The request is not valid"
NODES_NAMED = 20
FAULTS_NAMED = 50
MAX_AUTHOR = 64
MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Who makes a change, and why."""

    author: str = "api"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChange:
    """``patch`` None: the layer ends."""

    address: Address
    patch: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """``definition`` None: the document's schema ends."""

    document: str
    definition: Any


def checked_patch(patch: Any, field: str = "patch") -> dict[str, Any]:
    """The patch itself, or the Problem that it has."""
    try:
        return check_patch(patch)
    except MessageError as exc:
        status = 413 if exc.reason == "too_large" else 422
        raise Problem(
            status=status,
            title=NOT_VALID,
            field=field,
            detail=exc.detail,
            expected="an object: a JSON merge patch (RFC 7396)",
        ) from exc


def signed(author: str | None, message: str | None) -> Signed:
    for field, text, most in (
        ("author", author or "", MAX_AUTHOR),
        ("message", message or "", MAX_MESSAGE),
    ):
        if len(text) > most or "\0" in text:
            raise Problem(
                status=422,
                title=NOT_VALID,
                field=field,
                detail=f"{len(text)} characters",
                expected=f"{most} or fewer, none of them NUL",
            )
    return Signed(author=author or "api", message=message or "")


def unknown(address: Address) -> Problem:
    return Problem(
        status=404,
        title=f"No such {address.kind}",
        detail=f"there is no {address.kind} {address.name[:200]!a}",
        field=address.kind,
    )


def no_layer(address: Address) -> Problem:
    return Problem(
        status=404, title="No such layer", detail=f"{address} has no layer", field="layer"
    )


def no_revision(what: object, rev: int) -> Problem:
    return Problem(
        status=404, title="No such revision", detail=f"{what} has no revision {rev}", field="rev"
    )


def check_match(what: object, rev: int, if_match: str | None) -> None:
    """``rev`` 0: there is none yet."""
    if if_match is None or (if_match == "*" and rev) or if_match == etag(rev):
        return
    raise Problem(
        status=412,
        title="It was changed meanwhile",
        field="If-Match",
        detail=f"{what} is at {etag(rev)}, the request was made for {if_match[:40]}",
        expected="the ETag of a new GET",
    )


def etag(rev: int) -> str:
    return f'"{rev}"'


def refused(faults: Sequence[Fault]) -> Problem:
    """A change that would break nodes: names what, where and at whom."""
    broken = {node for fault in faults for node in fault.nodes}
    first = faults[0]
    return Problem(
        status=422,
        title="The configuration would not be valid",
        detail=f"{len(broken)} nodes would break, among them {first.nodes[0]}, "
        f"at {first.violation.path or '/'}: {first.violation.message}",
        errors=[
            FieldError(field=fault.violation.path or "/", detail=_detail(fault))
            for fault in faults[:FAULTS_NAMED]
        ],
        extra={"faults": fault_documents(faults[:FAULTS_NAMED]), "nodes": len(broken)},
    )


def _detail(fault: Fault) -> str:
    named = ", ".join(fault.nodes[:3])
    more = f" and {len(fault.nodes) - 3} more" if len(fault.nodes) > 3 else ""
    return f"{fault.violation.message} (at {named}{more})"


def fault_documents(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    return [
        {
            "path": fault.violation.path,
            "message": fault.violation.message,
            "count": len(fault.nodes),
            "nodes": list(fault.nodes[:NODES_NAMED]),
        }
        for fault in faults
    ]
