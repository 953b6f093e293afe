"""A local program is told of its new document: by a command, by a signal, on the way back too."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import eventually
from edge_config.config_bench import Bench, host_parts

PROGRAM = """
import json, pathlib, signal, sys, threading
folder = pathlib.Path(sys.argv[1])
def read(*_):
    with (folder / "read").open("a") as file:
        file.write(json.dumps(json.loads((folder / "root/cam.json").read_text())) + "\\n")
signal.signal(signal.SIGHUP, read)
(folder / "pid").write_text(f"{__import__('os').getpid()}\\n")
while True:
    signal.pause()
"""


def config(folder: Path, fps: int, **more: Any) -> dict[str, Any]:
    entry = {
        "path": str(folder / "root/cam.json"),
        "document": {"fps": fps},
        "on_change": {"signal": "SIGHUP", "pid_file": str(folder / "pid")},
    }
    return {"app": {"cam": entry}, **more}


async def test_a_signal_reaches_it_on_the_way_and_on_the_way_back(tmp_path: Path) -> None:
    bench = Bench(host_parts(tmp_path))
    bench.take(1, config(tmp_path, 10))
    await bench.reported(1, "applied")  # it does not run yet: that is no failure
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, str(tmp_path))
    read = tmp_path / "read"
    try:
        await eventually((tmp_path / "pid").exists)
        await eventually(lambda: (tmp_path / "pid").read_text())
        bench.take(2, config(tmp_path, 20))
        await bench.reported(2, "applied")
        await eventually(lambda: read.exists() and len(read.read_text().splitlines()) == 1)
        sick = {"it": {"command": ["false"], "within_s": 0.5, "interval_s": 0.2}}
        bench.take(3, config(tmp_path, 30, health=sick))
        await bench.reported(3, "rolled_back")
        await eventually(lambda: len(read.read_text().splitlines()) == 3)
        assert read.read_text().splitlines() == ['{"fps": 20}', '{"fps": 30}', '{"fps": 20}']
        bench.take(4, config(tmp_path, 20))
        await bench.reported(4, "applied")
        assert len(read.read_text().splitlines()) == 3, "nothing has changed for it"
    finally:
        program.send_signal(signal.SIGKILL)
        await program.wait()
        await bench.stop()


async def test_a_command_runs_after_the_file_is_there(tmp_path: Path) -> None:
    bench = Bench(host_parts(tmp_path))
    wanted = config(tmp_path, 5)
    wanted["app"]["cam"]["on_change"] = {
        "command": ["cp", str(tmp_path / "root/cam.json"), str(tmp_path / "copy")]
    }
    bench.take(1, wanted)
    await bench.reported(1, "applied")
    assert (tmp_path / "copy").read_text() == (tmp_path / "root/cam.json").read_text()
    await bench.stop()


@pytest.mark.parametrize("pid", ["1", "0", "-1", "x", ""])
async def test_a_pid_file_can_not_hit_others(tmp_path: Path, pid: str) -> None:
    (tmp_path / "pid").write_text(pid)
    bench = Bench(host_parts(tmp_path))
    bench.take(1, config(tmp_path, 5))
    report = await bench.reported(1, "failed")
    assert "by" in report["error"]["message"]
    assert not (tmp_path / "root/cam.json").exists()
    await bench.stop()


def test_no_template_no_jinja() -> None:
    code = (
        "import sys, farshore_edge.host, farshore_edge.config.host; "
        "from farshore_edge.config.model import Site; "
        "print([m for m in ('jinja2', 'importlib.metadata') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
