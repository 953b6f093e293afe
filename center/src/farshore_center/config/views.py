"""Configuration as the API shows it. Pure."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from farshore_protocol.config.difference import Change, differences
from farshore_protocol.config.layers import Effective, Layer, effective

from farshore_center.api.problems import Problem
from farshore_center.config.address import OVERRIDE
from farshore_center.config.checks import Checker
from farshore_center.config.engine import NodeConfig
from farshore_center.config.fleet import Fleet, Place
from farshore_center.config.layer_store import Revision, SchemaRevision
from farshore_center.config.plan import Fault, Layers, faults, pairs
from farshore_center.config.request import fault_documents
from farshore_center.events.instant import rfc3339

CHANGES_SHOWN = 500
"""Of one node; a preview says how many more there are."""


def node_config_document(row: NodeConfig | None) -> dict[str, Any]:
    """``node["config"]``."""
    if row is None:
        row = NodeConfig(node="", labels={}, changed_ms=0)
    error = row.problem if row.problem is not None else row.error
    return {
        "desired_rev": row.rev or None,
        "desired_digest": row.digest,
        "reported_rev": row.reported_rev,
        "reported_digest": row.reported_digest,
        "state": row.shown_state,
        "error": _fragment(error),
        "override": _fragment(row.override),
        "differences": _fragment(row.differences) or [],
    }


def _fragment(text: bytes | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """``effective``: of the layers as they are now; ``revisions``: those layers, the lowest first."""

    place: Place
    effective: Effective
    row: NodeConfig | None
    revisions: tuple[Revision, ...]

    def document(self, *, explain: bool) -> dict[str, Any]:
        row = self.row or NodeConfig(node=self.place.node, labels={}, changed_ms=0)
        shown = self.effective
        found: dict[str, Any] = {
            "node": self.place.node,
            "rev": row.rev or None,
            "digest": self.effective.digest,
            "group": self.place.group,
            "labels": dict(self.place.labels),
            "state": row.shown_state,
            "reported": _reported(row),
        }
        if explain:
            shown, layers = self._with_override(row)
            found["origin"] = dict(sorted(shown.origins.of.items()))
            found["removed"] = dict(sorted(shown.origins.removed.items()))
            found["layers"] = layers
        return found | {"config": shown.config}

    def _with_override(self, row: NodeConfig) -> tuple[Effective, list[dict[str, Any]]]:
        """The local override is the node's uppermost layer; its digest is of the node alone."""
        layers = [
            {"layer": each.address.origin(each.rev), **revision_head(each)}
            for each in self.revisions
        ]
        override = None if row.override is None else orjson.loads(row.override)
        if not isinstance(override, dict) or not isinstance(override.get("config"), dict):
            return self.effective, layers
        top = Layer(name=OVERRIDE, patch=override["config"])
        layers.append(
            {
                "layer": OVERRIDE,
                "rev": None,
                "author": override.get("author"),
                "message": override.get("reason"),
                "at": rfc3339(override.get("set_ms") or 0),
            }
        )
        return effective([*self.effective.layers, top]), layers


def _reported(row: NodeConfig) -> dict[str, Any]:
    return {
        **node_config_document(row),
        "running": row.running,
        "running_rev": row.running_rev,
        "effective": row.effective,
        "at": None if row.reported_ms is None else rfc3339(row.reported_ms),
    }


def revision_head(revision: Revision) -> dict[str, Any]:
    return {
        "rev": revision.rev,
        "author": revision.author,
        "message": revision.message,
        "at": rfc3339(revision.at_ms),
        "digest": revision.digest,
        "deleted": revision.deleted,
    }


def revision_document(revision: Revision) -> dict[str, Any]:
    address = revision.address
    return {
        "layer": str(address),
        "kind": address.kind,
        "name": address.name,
        **revision_head(revision),
        "patch": revision.patch,
    }


def schema_document(revision: SchemaRevision) -> dict[str, Any]:
    return {
        "document": revision.document,
        "rev": revision.rev,
        "author": revision.author,
        "message": revision.message,
        "at": rfc3339(revision.at_ms),
        "built_in": False,
        "definition": revision.definition,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Nodes of which the very same changes."""

    changes: tuple[Change, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """``nodes``: how many the change was looked at for; the largest group of alike first."""

    nodes: int
    alike: tuple[Alike, ...] = ()
    faults: tuple[Fault, ...] = ()

    def document(self, limit: int, cursor: str | None) -> dict[str, Any]:
        start = 0 if cursor is None else _read_cursor(cursor)
        page = self.alike[start : start + limit]
        more = start + limit < len(self.alike)
        return {
            "nodes": self.nodes,
            "changed": sum(len(each.nodes) for each in self.alike),
            "valid": not self.faults,
            "faults": fault_documents(self.faults),
            "items": [_alike_document(each) for each in page],
            "next": _write_cursor(start + limit) if more else None,
        }


def _alike_document(alike: Alike) -> dict[str, Any]:
    shown = alike.changes[:CHANGES_SHOWN]
    return {
        "count": len(alike.nodes),
        "nodes": list(alike.nodes),
        "changes": [asdict(change) for change in shown],
        "left_out": len(alike.changes) - len(shown),
    }


def previewed(
    fleet: Fleet, touched: Sequence[Place], before: Layers, after: Layers, checker: Checker
) -> Preview:
    known: dict[tuple[str, str], bytes] = {}
    changes: dict[bytes, tuple[Change, ...]] = {}
    nodes: dict[bytes, list[str]] = {}
    wrong = []
    for pair in pairs(fleet, touched, before, after):
        key = (pair.before.digest, pair.after.digest)
        text = known.get(key)
        if text is None:
            found = tuple(differences(pair.before.config, pair.after.config))
            text = known[key] = orjson.dumps([asdict(each) for each in found])
            changes.setdefault(text, found)
        nodes.setdefault(text, []).append(pair.place.node)
        if violations := checker.violations(pair.after):
            wrong.append((pair.place, checker.violations(pair.before), violations))
    alike = [Alike(changes=changes[text], nodes=tuple(names)) for text, names in nodes.items()]
    alike.sort(key=lambda each: (-len(each.nodes), each.nodes))
    return Preview(nodes=len(touched), alike=tuple(alike), faults=tuple(faults(wrong)))


def _write_cursor(start: int) -> str:
    return base64.urlsafe_b64encode(str(start).encode()).decode()


def _read_cursor(cursor: str) -> int:
    try:
        return max(0, int(base64.urlsafe_b64decode(cursor)))
    except (ValueError, binascii.Error) as exc:
        raise Problem(
            status=422,
            title="The request is not valid",
            field="cursor",
            detail=f"{cursor[:100]!a} is no cursor",
            expected="the value of `next` in the page before",
        ) from exc
