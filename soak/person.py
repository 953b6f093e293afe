"""A person at the center's interface: makes jobs and decides on them, however often the center dies."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from soak.errors import SoakError

LIVE = "scheduled,running,awaiting_approval,paused,halted,rolling_back"
MOST_LIVE = 6
"""Jobs at once: more would only wait for each other's nodes."""
EFFECT = (
    'echo "$0 $(tr "\\0" " " < /proc/$PPID/cmdline | sed "s/.*--node //; s/ .*//")" >> "$1"; '
    "exit $2"
)
"""A line of token and node; the node is read off the command line of the agent that runs it."""


class Person:
    """``made``: by token, the id of the job that the center has answered for."""

    def __init__(self, port: int, effects: Path, rng: random.Random) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)
        url = f"http://127.0.0.1:{port}/api/v1"
        self._client = httpx.AsyncClient(base_url=url, timeout=30, limits=limits)
        self._effects = effects
        self._rng = rng
        self._number = 0
        self._ending = False
        self.made: dict[str, str] = {}
        self.calls: Counter[str] = Counter()

    async def close(self) -> None:
        await self._client.aclose()

    def end(self) -> None:
        self._ending = True

    async def act(self) -> None:
        """Until ``end``."""
        while not self._ending:
            live = await self._live()
            if live is not None and len(live) < MOST_LIVE:
                await self._make()
            elif live:
                await self._decide(self._rng.choice(live))
            await asyncio.sleep(self._rng.uniform(0.02, 0.3))

    async def finish(self, within_s: float) -> None:
        """Until every job is over."""
        deadline_s = time.monotonic() + within_s
        while live := await self._live() or []:
            if time.monotonic() > deadline_s:
                raise SoakError(f"jobs that don't end: {[(j['id'], j['state']) for j in live]}")
            for job in live:
                for call in ("approve", "resume"):
                    if call in job["can"]:
                        await self._call(job, call)
                        break
            await asyncio.sleep(0.2)

    async def _live(self) -> list[dict[str, Any]] | None:
        answer = await self._ask("GET", f"/jobs?limit=50&state={LIVE}")
        return None if answer is None else list(answer.json()["items"])

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """None: the center was not there, or died over it."""
        try:
            answer = await self._client.request(method, path, **more)
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            return None
        if answer.status_code >= 500:
            await asyncio.sleep(0.05)
            return None
        return answer

    async def _make(self) -> None:
        """Sent under the same key until there is an answer."""
        self._number += 1
        token = f"job-{self._number}"
        body = self._body(token)
        while True:
            key = {"Idempotency-Key": token}
            answer = await self._ask("POST", "/jobs", json=body, headers=key)
            if answer is None:
                if self._ending:
                    return
                continue
            if answer.status_code not in (200, 201):
                raise SoakError(f"POST /jobs: {answer.status_code} {answer.text[:500]}")
            self.made[token] = answer.json()["id"]
            self.calls["made"] += 1
            return

    def _body(self, token: str) -> dict[str, Any]:
        rng = self._rng
        rules: dict[str, Any] = {
            "waves": {"sizes": [rng.choice([1, 2, "50%"])], "factor": rng.choice([1.0, 2.0])},
            "at_once": rng.randint(1, 4),
            "success": {"percent": float(rng.choice([1, 50, 100]))},
            "soak_s": rng.choice([0.0, 0.0, 0.3]),
            "approval": rng.random() < 0.3,
            "node_deadline_s": float(rng.choice([4, 15, 30])),
        }
        if rng.random() < 0.3:
            patch = {"lamp": {token: self._number}}
            return {"name": token, "selector": "all", "config": {"patch": patch}, "rules": rules}
        rules["retries"] = rng.choice([0, 0, 2])
        code = "1" if rng.random() < 0.25 else "0"
        run = ["/bin/sh", "-c", EFFECT, token, str(self._effects), code]
        back = ["/bin/sh", "-c", EFFECT, f"undo-{token}", str(self._effects), "0"]
        command = {
            "verb": "exec",
            "args": {"argv": run},
            "undo": {"verb": "exec", "args": {"argv": back}},
        }
        return {"name": token, "selector": "all", "command": command, "rules": rules}

    async def _decide(self, job: dict[str, Any]) -> None:
        if not job["can"]:
            return
        weights = {"abort": 1, "rollback": 3, "pause": 3, "resume": 6, "approve": 8}
        calls = [each for each in job["can"] if each in weights]
        await self._call(job, self._rng.choices(calls, [weights[each] for each in calls])[0])

    async def _call(self, job: dict[str, Any], call: str) -> None:
        answer = await self._ask("POST", f"/jobs/{job['id']}/{call}", json={"author": "ada"})
        if answer is not None:
            self.calls[call if answer.status_code == 200 else f"{call}_refused"] += 1
            if answer.status_code not in (200, 409):
                raise SoakError(f"{call}: {answer.status_code} {answer.text[:500]}")
