"""The bench with real processes: a short measurement, and that nothing stays behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import proc
from bench.center import center
from bench.errors import BenchError
from bench.processes import module, running
from bench.publisher import measure
from bench.records import Load

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0

pytestmark = pytest.mark.processes


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_load_is_committed_by_a_real_center(tmp_path: Path) -> None:
    async with center(tmp_path) as found:
        load = Load(port=found.mqtt_port, nodes=2, messages=100, warm_up=5, window=8, plain=False)
        sent = await measure(load)
        assert 300 <= sent.payload_bytes <= 400
        for node in ("bench-01", "bench-02"):
            book = (await found.books(node))["metrics"]
            assert (book["accepted"], book["head"], book["holes"]) == (55, 55, [])
        assert (await found.metrics())["farshore_ingest_accepted_total"] == 110
        pid = found.process.pid
    assert not alive(pid)


async def test_a_program_that_ends_by_itself_is_an_error_with_its_last_words(
    tmp_path: Path,
) -> None:
    async with running("publisher", *module("publisher", "{}"), log=tmp_path / "log") as program:
        with pytest.raises(BenchError, match=r"(?s)exit code 1.*missing required field"):
            await program.finished(DEADLINE_S)


def test_when_it_is_ended_it_ends_all_that_it_started() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "--quick", "--only", "agent"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as bench:
        assert bench.stderr is not None
        for line in bench.stderr:
            if "an agent is connected" in line:
                break
        started = proc.descendants(bench.pid, proc.parents())
        assert len(started) == 2  # a center and an agent
        bench.send_signal(signal.SIGTERM)
        _, rest = bench.communicate(timeout=DEADLINE_S)
        assert "no report was written" in rest
        assert bench.returncode == 130
    assert [pid for pid in started if alive(pid)] == []
