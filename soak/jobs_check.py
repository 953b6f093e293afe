"""Holds what a center has left in its database to the promises of jobs; it uses none of its code but
the tables of states.

The history is replayed row by row: every transition has to be one of the tables, and where it ends has to
be where the job and its nodes stand. The commands have to be those that the history speaks of, no more.
"""

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from farshore_center.jobs.lifecycle import JOB, JOB_NODE, OVER, QUIET
from farshore_protocol.commands.lifecycle import FINAL

from soak.violation import Violation

UNDER_WAY = ("active", "undoing")


class JobsCheck:
    def __init__(self, database: Path, effects: Path) -> None:
        self._conn = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        self._conn.row_factory = sqlite3.Row
        self._effects = effects
        self.violations: list[Violation] = []
        self._tally: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()

    def run(self, made: dict[str, str]) -> None:
        """``made``: by token, the id of each job that the center has answered for."""
        jobs = {row["id"]: row for row in self._all("SELECT * FROM job")}
        by_key = Counter(row["idempotency_key"] for row in jobs.values())
        for token, job_id in made.items():
            if job_id not in jobs:
                self._violated("an answered job is kept", token, job_id)
            if by_key[token] != 1:
                self._violated("a key makes one job", token, str(by_key[token]))
        lines = self._lines()
        for job in jobs.values():
            self._tally["jobs"] += 1
            self._ends[job["state"]] += 1
            if job["state"] not in OVER:
                self._violated("every job comes to its end", job["id"], job["state"])
            asked = _Replay(self, job).run()
            self._commands(job, asked, lines)
        found = self._all("PRAGMA integrity_check")[0][0]
        if found != "ok":
            self._violated("the database is whole", "center", str(found))
        self._conn.close()

    def counts(self) -> dict[str, Any]:
        return {
            **dict(sorted(self._tally.items())),
            "jobs_by_end": dict(sorted(self._ends.items())),
        }

    def count(self, what: str, number: int = 1) -> None:
        self._tally[what] += number

    def rows(self, question: str, *values: Any) -> list[sqlite3.Row]:
        return self._conn.execute(question, values).fetchall()

    def _all(self, question: str) -> list[sqlite3.Row]:
        return self.rows(question)

    def violated(self, promise: str, where: str, detail: str) -> None:
        self.violations.append(Violation(promise=promise, where=where, detail=detail))

    _violated = violated

    def _lines(self) -> Counter[tuple[str, str]]:
        """Effects, by token and node."""
        if not self._effects.exists():
            return Counter()
        words = (line.split() for line in self._effects.read_text().splitlines())
        return Counter((word[0], word[1]) for word in words if len(word) == 2)

    def _commands(
        self, job: sqlite3.Row, asked: Counter[str], lines: Counter[tuple[str, str]]
    ) -> None:
        """A target for each time that a node came under way, and an effect at most for each."""
        if json.loads(job["spec"])["command"] is None:
            return
        question = (
            "SELECT t.node, t.state, c.id FROM command_target t JOIN command c "
            "ON c.id = t.command_id WHERE c.by = ?"
        )
        given = Counter[str]()
        for row in self.rows(question, f"job:{job['id']}"):
            given[row["node"]] += 1
            if row["state"] not in FINAL:
                self._violated("every command ends", row["id"], f"{row['node']} {row['state']}")
        self._tally["commands_to_nodes"] += sum(given.values())
        for node in asked.keys() | given.keys():
            if asked[node] != given[node]:
                detail = f"{node}: under way {asked[node]} times, {given[node]} commands"
                self._violated("nothing is sent twice", job["id"], detail)
            token = job["name"]
            effects = lines[token, node] + lines[f"undo-{token}", node]
            self._tally["effects"] += effects
            if effects > asked[node]:
                detail = f"{node}: {effects} effects of {asked[node]} tellings"
                self._violated("nothing happens twice", job["id"], detail)


class _Replay:
    """One job's history. ``run`` counts how often each node came under way."""

    def __init__(self, check: JobsCheck, job: sqlite3.Row) -> None:
        self._check = check
        self._job = job
        spec = json.loads(job["spec"])
        self._at_once = int(spec["rules"]["at_once"])
        self._approval = bool(spec["rules"]["approval"])
        self._state = "scheduled"
        self._nodes: dict[str, str] = {}
        self._wave = self._ended = 0
        self._approved = 1
        self._asked: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        job_id = self._job["id"]
        nodes = self._check.rows("SELECT * FROM job_node WHERE job_id = ?", job_id)
        self._nodes = {row["node"]: "waiting" for row in nodes}
        steps = self._check.rows("SELECT * FROM job_step WHERE job_id = ? ORDER BY id", job_id)
        self._check.count("steps", len(steps))
        for step in steps[1:]:
            if step["node"] is not None:
                self._node(step)
            elif step["wave"] is not None:
                self._wave_step(step)
            elif not JOB.may(self._state, step["state"]):
                self._wrong("a transition of the table", f"{self._state} to {step['state']}")
            else:
                self._state = step["state"]
        if self._state != self._job["state"]:
            self._wrong("every transition is a row", f"{self._state}, not {self._job['state']}")
        for row in nodes:
            if self._nodes[row["node"]] != row["state"]:
                detail = f"{row['node']} {self._nodes[row['node']]}, not {row['state']}"
                self._wrong("every transition is a row", detail)
        return self._asked

    def _node(self, step: sqlite3.Row) -> None:
        node, state = step["node"], step["state"]
        before = self._nodes.get(node, "waiting")
        if before != state and not JOB_NODE.may(before, state):
            self._wrong("a transition of the table", f"{node}: {before} to {state}")
        self._nodes[node] = state
        if state not in UNDER_WAY:
            return
        self._asked[node] += 1
        busy = sum(each in UNDER_WAY for each in self._nodes.values())
        if busy > self._at_once:
            self._wrong("never more at once than allowed", f"{busy} of {self._at_once}")
        if state == "active" and self._state in QUIET:
            self._wrong("stopped means silent", f"{node} was told while it was {self._state}")
        if state == "active" and step["wave"] != self._wave:
            self._wrong("no wave before its time", f"{node} of wave {step['wave']} in {self._wave}")

    def _wave_step(self, step: sqlite3.Row) -> None:
        number, state = step["wave"], step["state"]
        if state == "approved":
            self._approved = number
        elif state == "ended":
            self._ended = number
        else:
            self._check.count("waves")
            if number != self._wave + 1 or self._ended != self._wave:
                self._wrong("no wave before its time", f"{number} opened, {self._ended} ended")
            if self._approval and number > self._approved:
                self._wrong("no wave without a person", f"{number} opened")
            if self._state in QUIET:
                self._wrong("stopped means silent", f"{number} opened while {self._state}")
            self._wave = number

    def _wrong(self, promise: str, detail: str) -> None:
        self._check.violated(promise, self._job["id"], detail)
