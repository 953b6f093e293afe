"""A disk that fails under the journal, and an agent that stops in the middle."""

from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import eventually
from edge_config.config_bench import Bench, host_parts
from farshore_edge.config import service
from farshore_edge.config.model import State
from farshore_edge.config.store import FileStore


class FailingStore(FileStore):
    """The disk is full from the ``after``-th write of the state on, for ``times`` writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.after = 1 << 60
        self.times = 0
        self.writes = 0
        self.refused = 0

    async def save(self, state: State) -> None:
        self.writes += 1
        if self.after <= self.writes < self.after + self.times:
            self.refused += 1
            raise OSError(28, "No space left on device")
        await super().save(state)


def config(root: Path, text: str, **more: Any) -> dict[str, Any]:
    return {
        "files": {str(root / name): {"content": text} for name in ("a", "d/b")},
        "agent": {"heartbeat_s": len(text)},
        **more,
    }


def whole(root: Path, bench: Bench) -> str:
    texts = {(root / name).read_text() for name in ("a", "d/b")}
    assert len(texts) == 1
    [text] = texts
    assert bench.live["heartbeat_s"] == len(text)
    return text


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("after", range(1, 9))
async def test_a_full_disk_leaves_the_old_or_the_new_one_and_is_got_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, times: int
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    parts = host_parts(tmp_path)
    store = FailingStore(tmp_path / "agent" / "config")
    object.__setattr__(parts, "store", store)
    bench, root = Bench(parts), tmp_path / "root"
    bench.take(1, config(root, "old"))
    await bench.reported(1, "applied")
    await eventually(lambda: bench.service.status()["state"] == "applied")
    store.after, store.times = store.writes + after, times
    bench.take(2, config(root, "newer"))
    await eventually(lambda: store.refused or bench.service.revisions() == {"config": 2})
    await eventually(
        lambda: (
            any(r["rev"] == 2 and r["state"] != "failed" for r in bench.reports())
            or bench.service.status()["desired_rev"] == 1
        )
    )
    running = bench.service.revisions()["config"]
    await eventually(lambda: whole(root, bench) == {1: "old", 2: "newer"}[running])
    await bench.stop()
    assert not list(root.rglob(".farshore*"))


async def test_an_orderly_stop_in_the_middle_undoes_and_the_next_start_tries_again(
    tmp_path: Path,
) -> None:
    bench, root = Bench(host_parts(tmp_path)), tmp_path / "root"
    bench.take(1, config(root, "old"))
    await bench.reported(1, "applied")
    well = {"it": {"fresh": str(root / "well"), "max_age_s": 3600, "within_s": 3600}}
    bench.take(2, config(root, "newer", health=well))
    await eventually(lambda: (root / "a").read_text() == "newer")
    await bench.stop()
    assert whole(root, bench) == "old"
    (root / "well").touch()
    again = Bench(host_parts(tmp_path))
    await again.reported(2, "applied")
    assert whole(root, again) == "newer"
    await again.stop()
