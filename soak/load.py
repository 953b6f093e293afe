"""Commands all the while: each ``exec`` adds one line to a file, so that its effects can be counted."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soak.http import CenterHttp

TTL_S = 90.0
PING_EVERY = 8
"""Of so many commands one is a ping to every node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An ``exec`` that the center has answered for: its id, its node, and the line of its effect."""

    id: str
    node: str
    line: str


class Load:
    def __init__(
        self, http: CenterHttp, nodes: Sequence[str], folder: Path, rng: random.Random
    ) -> None:
        self._http = http
        self._nodes = list(nodes)
        self.folder = folder / "effects"
        self.folder.mkdir()
        self._rng = rng
        self._number = 0
        self._ending = False
        self.given: list[Given] = []
        self.pings: list[str] = []

    async def run(self, every_s: float) -> None:
        """Until ``end``."""
        while not self._ending:
            self._number += 1
            await self._one(self._number)
            await asyncio.sleep(every_s * self._rng.uniform(0.5, 1.5))

    def end(self) -> None:
        """The command that is on its way is the last; it needs a center that lives."""
        self._ending = True

    async def _one(self, number: int) -> None:
        key = f"soak-{number}"
        if number % PING_EVERY == 0:
            body = {"nodes": self._nodes, "verb": "ping", "ttl_s": TTL_S}
            self.pings.append(await self._http.give(body, key))
            return
        node, line = self._rng.choice(self._nodes), f"line-{number}"
        argv = ["/bin/sh", "-c", f'echo "$0" >> "{self.folder / node}"', line]
        body = {"node": node, "verb": "exec", "args": {"argv": argv}, "ttl_s": TTL_S}
        self.given.append(Given(id=await self._http.give(body, key), node=node, line=line))

    def effects(self) -> Counter[tuple[str, str]]:
        """How often each line was written, by node and line."""
        found: Counter[tuple[str, str]] = Counter()
        for file in self.folder.iterdir():
            found.update((file.name, line) for line in file.read_text().splitlines())
        return found
