"""Power loss at every step of a transaction: what was synced is there, and of the rest anything."""

import asyncio
import json
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edge_config.forgetful import ForgetfulFolder, Tree, lay_out
from farshore_edge.config import placing, store

from soak.config_child import Life, tree_of, unhealthy

REVISIONS = 5
STATES_EACH = 60


class PowerLosses:
    """Revisions that follow each other on one disk, and what is wrong after power losses in them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.disk = folder / "disk"
        self._aside = folder / "aside"
        self._rng = random.Random(seed)
        self.running = 0
        self.calls = 0
        self.ends: set[int] = set()
        self.states = 0
        self.wrong: list[str] = []
        (self.disk / "root").mkdir(parents=True)

    async def revision(self, rev: int, most: int) -> None:
        before, after = self.running, self.running if unhealthy(rev) else rev
        (self.disk / "told.jsonl").write_text("")
        states = await self._recorded(rev)
        shutil.copytree(self.disk, self._aside)
        chosen = {0, len(states) - 1} | {self._rng.randrange(len(states)) for _ in range(most)}
        for number in sorted(chosen):
            said, tree = states[number]
            fine = {after} if said else {before, after}
            await self._lost(tree, fine, f"revision {rev}, state {number} of {len(states)}")
        shutil.rmtree(self.disk)
        self._aside.rename(self.disk)
        self.running = after

    async def _recorded(self, rev: int) -> list[tuple[int, Tree]]:
        disk = ForgetfulFolder(self.disk, self._rng, lambda: len(self._told("report")))
        with pytest.MonkeyPatch.context() as patch:
            disk.follow(patch)
            async with asyncio.timeout(60):
                await Life(self.disk).go_on(rev, lambda: 0)
        self.calls += disk.calls
        return disk.states

    async def _lost(self, tree: Tree, fine: set[int], when: str) -> None:
        """The power has come back: a life that only recovers says what runs, and runs it."""
        lay_out(self.disk, {path: tree[path] for path in tree if path != "told.jsonl"})
        self.states += 1
        async with asyncio.timeout(60):
            await Life(self.disk).recover()
        runs = self._told("running_rev")[-1]["running_rev"]
        self.ends.add(runs)
        if runs not in fine:
            self.wrong.append(f"{when}: {runs} runs, expected {fine}")
        root = self.disk / "root"
        files = {
            str(path.relative_to(root)): (path.stat().st_mode & 0o7777, path.read_text())
            for path in root.rglob("*")
            if path.is_file()
        }
        wanted = tree_of(runs)
        if files != wanted:
            names = {n for n in {*files, *wanted} if files.get(n) != wanted.get(n)}
            self.wrong.append(f"{when}: {runs} does not run whole: {sorted(names)}")

    def _told(self, what: str) -> list[dict[str, Any]]:
        lines = (self.disk / "told.jsonl").read_text().splitlines()
        return [word for word in map(json.loads, lines) if what in word]


async def losses(folder: Path, *, revisions: int = REVISIONS, most: int) -> PowerLosses:
    tried = PowerLosses(folder, seed=3)
    for rev in range(1, revisions + 1):
        await tried.revision(rev, most)
    return tried


async def test_after_a_power_loss_the_old_or_the_new_one_runs_whole(tmp_path: Path) -> None:
    tried = await losses(tmp_path, most=STATES_EACH)
    assert tried.wrong == [], "\n".join(tried.wrong)
    assert tried.calls > 100
    assert tried.states > 3 * STATES_EACH
    assert tried.ends == {0, 1, 2, 4, 5}, "of each revision that is healthy"


class Hasty:
    """The module ``os`` for a program that syncs folders and no files."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)


def files_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(placing, "os", Hasty())


def folders_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store, "_sync", lambda _folder: None)


@pytest.mark.parametrize("defect", [files_not_synced, folders_not_synced])
async def test_a_sync_that_is_left_out_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defect: Callable[[pytest.MonkeyPatch], None]
) -> None:
    defect(monkeypatch)
    tried = await losses(tmp_path, revisions=2, most=STATES_EACH)
    assert tried.wrong
