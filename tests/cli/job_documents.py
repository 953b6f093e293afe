"""Jobs as docs/api.md has them, for the tests of the command line."""

from typing import Any

RULES: dict[str, Any] = {
    "waves": {"sizes": ["100%"], "factor": 1.0}, "at_once": 100, "at_once_per_group": None,
    "success": {"percent": 100.0, "minimum": 1}, "soak_s": 0.0, "gates": [], "gate_wait_s": 0.0,
    "retries": 0, "node_deadline_s": 300.0, "deadline_s": None, "budgets": [], "approval": False,
    "windows": [], "timezone": "UTC",
}  # fmt: skip


def wave(number: int, nodes: int, state: str, **counts: int) -> dict[str, Any]:
    opened = None if state == "planned" else "2026-03-01T10:00:00.002Z"
    return {
        "number": number, "size": nodes, "nodes": nodes, "state": state, "counts": counts,
        "opened_at": opened, "ended_at": "2026-03-01T10:00:03.900Z" if state == "ended" else None,
        "soaks_until": None,
        "approved_by": None, "approved_at": None,
    }  # fmt: skip


def job(**more: Any) -> dict[str, Any]:
    rules = RULES | more.pop("rules", {})
    return {
        "id": "01kx2", "name": "closer look", "revision": 7, "selector": "group:eu/**",
        "following": False,
        "payload": {"kind": "command", "verb": "exec", "args": {"argv": ["uptime", "-p"]},
                    "timeout_s": None, "undo": None},
        "rules": rules, "start": {"at": None, "cron": None, "timezone": "UTC"},
        "state": "running", "reason": None, "waits_for": "3 nodes that are under way",
        "can": ["pause", "abort"], "created_at": "2026-03-01T10:00:00.000Z", "author": "ada",
        "message": "", "starts_at": "2026-03-01T10:00:00.000Z",
        "started_at": "2026-03-01T10:00:00.002Z", "ended_at": None, "deadline_at": None,
        "next_at": None, "parent": None, "total": 40, "touched": 5, "wave": 2, "approved": 1,
        "counts": {}, "waves": [], "gates": [], "next": None, "stays": None, **more,
    }  # fmt: skip


def node(name: str, state: str, reason: str | None = None, number: int = 1) -> dict[str, Any]:
    return {
        "node": name, "state": state, "reason": reason, "wave": number, "attempts": 1,
        "started_at": "2026-03-01T10:00:00.002Z", "updated_at": "2026-03-01T10:00:03.900Z",
        "deadline_at": None, "forgiven": False, "command": "01kx3", "config_rev": None,
    }  # fmt: skip


def rollout() -> dict[str, Any]:
    """In its third wave: one soaked and approved, one with a failure, one under way."""
    second = wave(2, 4, "ended", succeeded=3, timed_out=1) | {"approved_by": "grace"}
    return job(
        rules={
            "waves": {"sizes": [1, "10%"], "factor": 2.0}, "soak_s": 60.0, "approval": True,
            "success": {"percent": 75.0, "minimum": 3},
            "gates": [{"selector": "state=online", "percent": 90.0},
                      {"series": "cpu.percent", "op": "<=", "factor": 1.2, "plus": 5.0}],
            "windows": [{"cron": "0 2 * * *", "duration_s": 7200.0}],
            "budgets": [{"group": "eu", "most": "10%"}],
        },
        waves=[
            wave(1, 1, "ended", succeeded=1), second,
            wave(3, 8, "open", succeeded=2, active=3, waiting=3),
            wave(4, 16, "planned"), wave(5, 11, "planned"),
        ],
        counts={"succeeded": 6, "timed_out": 1, "active": 3, "waiting": 30}, wave=3, touched=10,
        message="after the outage",
    )  # fmt: skip
