"""A job as the API shows it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping

from farshore_center.events.instant import rfc3339
from farshore_center.jobs.calls import calls_of
from farshore_center.jobs.engine import wave_size
from farshore_center.jobs.lifecycle import OVER
from farshore_center.jobs.moments import Moment
from farshore_center.jobs.overlays import overlay_name
from farshore_center.jobs.record import NodeRecord, Record
from farshore_center.jobs.state import Job, Judged
from farshore_center.jobs.waits import Outlook

MOST_WAVES = 50
"""Of those to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """``waves`` None: not asked for, and neither is ``stays``."""

    record: Record
    counts: Mapping[str, int]
    touched: int
    outlook: Outlook
    waves: Sequence[Mapping[str, Any]] | None = None
    stays: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """For orjson."""
        record, job = self.record, self.record.job
        body = record.body.model_dump(mode="json")
        document: dict[str, Any] = {
            "id": job.id,
            "name": body["name"],
            "revision": record.revision,
            "selector": body["selector"],
            "following": job.following,
            "payload": _payload(record, body),
            "rules": body["rules"],
            "start": body["start"],
            "state": job.state,
            "reason": job.reason,
            "waits_for": None if job.state in OVER else self.outlook.waits_for,
            "next": None if job.state in OVER else _next(self.outlook.next),
            "gates": _verdicts(self.outlook.judged or record.judged),
            "can": calls_of(record),
            "created_at": rfc3339(record.created_ms),
            "author": record.author,
            "message": record.message,
            "starts_at": rfc3339(job.start_ms),
            "started_at": _at(record.started_ms),
            "ended_at": _at(record.ended_ms),
            "deadline_at": _at(job.deadline_ms),
            "next_at": _at(record.next_ms),
            "parent": record.parent,
            "total": sum(number for state, number in self.counts.items() if state != "left"),
            "touched": self.touched,
            "wave": job.wave,
            "approved": job.approved,
            "counts": dict(self.counts),
        }
        if self.waves is not None:
            document["waves"] = list(self.waves)
            document["stays"] = self.stays
        return document


def _next(moment: Moment | None) -> dict[str, str] | None:
    return None if moment is None else {"what": moment.what, "at": rfc3339(moment.at_ms)}


def _verdicts(judged: Judged | None) -> list[dict[str, Any]]:
    if judged is None:
        return []
    at = rfc3339(judged.at_ms)
    return [{"holds": each.holds, "detail": each.detail, "at": at} for each in judged.verdicts]


def _payload(record: Record, body: Mapping[str, Any]) -> dict[str, Any]:
    command, config = body["command"], body["config"]
    if command is not None:
        return {"kind": "command", **command}
    repeats = record.spec.start.cron is not None
    overlay = None if repeats else overlay_name(record.id)
    return {"kind": "config", **config, "overlay": overlay}


def _at(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def planned_waves(
    record: Record, rows: Sequence[RowMapping], counts: Mapping[int, Mapping[str, int]]
) -> list[dict[str, Any]]:
    """The waves that were opened, and, of a job that goes on, those to come."""
    approved = {row["number"]: row for row in rows}
    job = record.job
    found = [_opened(row, counts.get(row["number"], {}), job) for row in rows if row["opened_ms"]]
    waiting = counts.get(0, {}).get("waiting", 0)
    if job.state in OVER or job.state == "rolling_back":
        return found
    total = sum(n for each in counts.values() for state, n in each.items() if state != "left")
    number, size = job.wave, job.wave_size
    while waiting and number - job.wave < MOST_WAVES:
        size = wave_size(job.rules.waves, number, size, total)
        number += 1
        row = approved.get(number)
        found.append(
            {
                "number": number,
                "size": size,
                "nodes": min(size, waiting),
                "state": "planned",
                "counts": {},
                "opened_at": None,
                "ended_at": None,
                "soaks_until": None,
                "approved_by": None if row is None else row["approved_by"],
                "approved_at": None if row is None else _at(row["approved_ms"]),
            }
        )
        waiting -= min(size, waiting)
    return found


def _opened(row: RowMapping, counts: Mapping[str, int], job: Job) -> dict[str, Any]:
    # A job that is resumed soaks its last wave anew, so the row does not know it.
    soaks = job.rules.soak_s > 0 and row["number"] == job.wave
    return {
        "number": row["number"],
        "size": row["size"],
        "nodes": row["nodes"],
        "state": "open" if row["ended_ms"] is None else "ended",
        "counts": dict(counts),
        "opened_at": _at(row["opened_ms"]),
        "ended_at": _at(row["ended_ms"]),
        "soaks_until": _at(job.soaked_ms) if soaks else None,
        "approved_by": row["approved_by"],
        "approved_at": _at(row["approved_ms"]),
    }


def node_document(record: Record, row: NodeRecord) -> dict[str, Any]:
    each = row.each
    deadline_ms = None
    if each.state in ("active", "undoing") and each.started_ms is not None:
        deadline_ms = each.started_ms + round(record.job.rules.node_deadline_s * 1000)
    return {
        "node": each.node,
        "state": each.state,
        "reason": each.reason,
        "wave": each.wave or None,
        "attempts": each.attempts,
        "started_at": _at(each.started_ms),
        "updated_at": rfc3339(row.updated_ms),
        "deadline_at": _at(deadline_ms),
        "forgiven": each.forgiven,
        "command": row.command_id,
        "config_rev": row.config_rev or None,
    }


def step_document(row: RowMapping) -> dict[str, Any]:
    return {
        "id": row["id"],
        "at": rfc3339(row["at_ms"]),
        "node": row["node"],
        "wave": row["wave"],
        "state": row["state"],
        "reason": row["reason"],
        "by": row["by"],
    }
