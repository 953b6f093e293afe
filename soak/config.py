"""The node's configuration transaction is killed at every step; then it has to be whole.

After each death a next life only recovers: the files must be those of one revision, entirely, and
the node must say which. A life after that hears from the center again and has to come to an end:
the revision runs, or the last good one does.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soak.config_child import tree_of, unhealthy
from soak.errors import SoakError
from soak.violation import Findings, Violation

TELL_EVERY = 200
BY_TIME = 0.3
"""Of the deaths, those that come from outside at any time instead of at a chosen call."""
AGAIN = 0.4
"""How often a life that recovers is killed as well."""
DEATHS = (1, 1, 1, 2, 2, 3)
"""Of one revision, in a row; the third is held against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSettings:
    kills: int = 1000
    seed: int = 1


class ConfigSoak:
    def __init__(self, settings: ConfigSettings, folder: Path, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._folder = folder
        self._root = folder / "root"
        self._say = say
        self._rng = random.Random(settings.seed)  # noqa: S311 # seeded on purpose
        self._nursery: asyncio.subprocess.Process
        self._steps = 20
        self._step = 0
        self._running = 0
        self.kills = 0
        self.counts: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.violations: list[Violation] = []

    async def run(self) -> Findings:
        self._root.mkdir(parents=True, exist_ok=True)
        began_s = time.monotonic()
        self._nursery = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "soak.config_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            rev = 0
            while self.kills < self._settings.kills:
                rev += 1
                await self._revision(rev)
        finally:
            if self._nursery.returncode is None:
                self._nursery.kill()
            await self._nursery.wait()
        seconds = time.monotonic() - began_s
        counts: dict[str, Any] = {
            "kills": self.kills,
            "revisions": rev,
            "calls_of_a_transaction": self._steps,
            **dict(sorted(self.counts.items())),
            "after_recovery": dict(sorted(self.states.items())),
            "took_s": round(seconds, 1),
        }
        return Findings(violations=self.violations, counts=counts)

    async def _revision(self, rev: int) -> None:
        before, deaths = self._running, 0
        most = self._rng.choice(DEATHS) if rev > 2 else 0  # two in peace, to count their calls
        while self.kills < self._settings.kills and deaths < most:
            died = await self._life(rev, **self._death())
            if not died:
                break
            deaths += 1
            while self.kills < self._settings.kills and self._rng.random() < AGAIN:
                if await self._life(None, kill_at=self._rng.randint(1, 12)):
                    self.counts["kills_while_recovering"] += 1
            await self._recovered(rev, before)
        if deaths or not most:
            await self._life(rev)
        self._concluded(rev, before, deaths)
        if self.kills % TELL_EVERY < deaths:
            self._say(f"{self.kills} kills, {len(self.violations)} violations so far")

    def _death(self) -> dict[str, Any]:
        """At each call in turn, so that none is left out; or at any time."""
        if self._rng.random() < BY_TIME:
            return {"kill_after_s": self._rng.uniform(0.002, 0.06)}
        self._step = self._step % (self._steps + 2) + 1
        return {"kill_at": self._step}

    async def _life(self, rev: int | None, **death: Any) -> bool:
        """Whether it was killed."""
        job = {"folder": str(self._folder), "rev": rev, **death}
        stdin, stdout = self._nursery.stdin, self._nursery.stdout
        if stdin is None or stdout is None:
            raise SoakError("the nursery has no pipes")
        stdin.write(json.dumps(job).encode() + b"\n")
        line = await stdout.readline()
        if not line:
            raise SoakError("the nursery ended by itself")
        word = json.loads(line)
        if word["late"] or word["ended"] not in (0, -signal.SIGKILL):
            self._violated("a life comes to an end", rev, str(word))
            return False
        if word["ended"] == 0:
            return False
        self.kills += 1
        self.counts["kills_at_a_call" if "kill_at" in death else "kills_at_a_time"] += 1
        return True

    async def _recovered(self, rev: int, before: int) -> None:
        await self._life(None)
        word = self._told()[-1]
        running = int(word.get("running_rev", -1))
        self.states["old" if running == before else "new"] += 1
        if running not in (before, rev):
            self._violated("old or new", rev, f"after {before}: {word}")
        if running == rev and unhealthy(rev):
            self._violated("old or new", rev, "it is not healthy, and was kept")
        self._whole(running, "recovered", word["heartbeat_s"])
        self._running = running

    def _concluded(self, rev: int, before: int, deaths: int) -> None:
        told = self._told()
        reports = [word for word in told if "report" in word]
        steps = [word["steps"] for word in told if "steps" in word]
        if steps and not deaths:
            self._steps = max(self._steps, steps[-1])
        if not reports or reports[-1]["report"]["rev"] != rev:
            self._violated("it says which", rev, str(reports[-1:]))
            return
        report = reports[-1]["report"]
        self.counts[f"reported_{report['state']}"] += 1
        self._running = report["running_rev"] or 0
        expected = rev if report["state"] == "applied" else before
        if self._running != expected:
            self._violated("it says which", rev, f"after {before}: {report}")
        given_up = report["state"] != "applied"
        if given_up != unhealthy(rev) and not (given_up and deaths >= 3):
            self._violated("the right end", rev, f"{deaths} deaths: {report}")
        self._whole(self._running, report["state"], reports[-1]["heartbeat_s"])

    def _whole(self, rev: int, when: str, heartbeat_s: int) -> None:
        found = {
            str(path.relative_to(self._root)): (path.stat().st_mode & 0o7777, path.read_text())
            for path in self._root.rglob("*")
            if path.is_file()
        }
        if found != tree_of(rev):
            names = {n for n in {*found, *tree_of(rev)} if found.get(n) != tree_of(rev).get(n)}
            self._violated("whole", rev, f"{when}: wrong are {sorted(names)}")
        if heartbeat_s != rev:
            self._violated("whole", rev, f"{when}: heartbeat_s {heartbeat_s}")
        backup = self._folder / "agent" / "config" / "backup"
        if backup.exists() and os.listdir(backup):
            self._violated("nothing is left over", rev, f"{when}: backups")

    def _told(self) -> list[dict[str, Any]]:
        """Since the beginning of this revision's last life, and whatever came before."""
        lines = (self._folder / "told.jsonl").read_text().splitlines()[-20:]
        return [json.loads(line) for line in lines]

    def _violated(self, promise: str, rev: int | None, detail: str) -> None:
        self.violations.append(Violation(promise=promise, where=f"revision {rev}", detail=detail))
