"""``services`` with a real systemd: a manager of its own, beside that of the machine if it has one."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from edge.edge_bench import eventually
from edge_config.config_bench import Bench, host_parts, tools
from farshore_edge.config.handlers.services import Services

MANAGER = shutil.which("systemd", path="/lib/systemd:/usr/lib/systemd") or ""
WITHIN_S = 30.0

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        os.geteuid() != 0 or not MANAGER or not shutil.which("unshare"),
        reason="needs root and Debian's systemd: a manager in a mount namespace",
    ),
]


class Systemd:
    """A user manager. It starts only where it believes that systemd has booted the machine: so it has
    a /run of its own, in a mount namespace."""

    def __init__(self, folder: Path) -> None:
        run, home = folder / "run", folder / "home"
        self.units = home / ".config" / "systemd" / "user"
        for made in (run, self.units):
            made.mkdir(parents=True)
        run.chmod(0o700)
        self._env = {**os.environ, "XDG_RUNTIME_DIR": str(run), "HOME": str(home)}
        self._env.pop("XDG_CONFIG_HOME", None)
        script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec {} --user"
        self._log = (folder / "log").open("wb")
        self._manager = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script.format(MANAGER)],
            env=self._env,
            stdout=self._log,
            stderr=self._log,
        )
        self.program = folder / "systemctl"
        self.program.write_text(
            f'#!/bin/sh\nXDG_RUNTIME_DIR={run} HOME={home} exec systemctl --user "$@"\n'
        )
        self.program.chmod(0o755)
        deadline = time.monotonic() + WITHIN_S
        while self.ask("show", "-p", "Version") == "":
            assert self._manager.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "systemd never answered"
            time.sleep(0.05)  # between two looks at a condition with a deadline

    def ask(self, *words: str) -> str:
        done = subprocess.run([str(self.program), *words], capture_output=True, text=True)
        return done.stdout.strip()

    def handler(self, folder: Path) -> Services:
        return Services(tools(folder), systemctl=str(self.program), runs=lambda: True)

    def end(self) -> None:
        self._manager.terminate()
        try:
            self._manager.wait(WITHIN_S)
        finally:
            self._manager.kill()
            self._log.close()


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    # Short: the manager's sockets lie below it.
    with tempfile.TemporaryDirectory(prefix="fs-") as folder:
        made = Systemd(Path(folder))
        try:
            yield made
        finally:
            made.end()


def unit(program: str, kind: str = "exec") -> str:
    return (
        f"[Service]\nType={kind}\nExecStart={program}\nTimeoutStopSec=5\n"
        "[Install]\nWantedBy=default.target\n"
    )


async def test_a_unit_is_brought_about_restarted_and_put_back(
    systemd: Systemd, tmp_path: Path
) -> None:
    (systemd.units / "cam.service").write_text(unit("/bin/sleep 300"))
    bench = Bench(host_parts(tmp_path, systemd.handler(tmp_path)))
    conf = str(tmp_path / "root" / "cam.conf")

    def config(content: str, **more: object) -> dict[str, object]:
        cam = {"enabled": True, "running": True, "restart_on": [conf]}
        return {"files": {conf: {"content": content}}, "services": {"cam.service": cam}, **more}

    try:
        bench.take(1, config("a"))
        await bench.reported(1, "applied")
        assert systemd.ask("is-active", "cam.service") == "active"
        assert systemd.ask("is-enabled", "cam.service") == "enabled"
        first = systemd.ask("show", "-p", "MainPID", "cam.service")
        bench.take(2, config("b"))
        await bench.reported(2, "applied")
        second = systemd.ask("show", "-p", "MainPID", "cam.service")
        assert second != first, "its file changed: restarted"

        # Stopped and switched off by a change that does no good: it goes on as it was.
        bad = {
            "services": {"cam.service": {"enabled": False, "running": False}},
            "health": {"up": {"command": ["false"], "within_s": 0.2, "interval_s": 0.1}},
        }
        bench.take(3, bad)
        await bench.reported(3, "rolled_back")
        assert systemd.ask("is-active", "cam.service") == "active"
        assert systemd.ask("is-enabled", "cam.service") == "enabled"
    finally:
        await bench.stop()


async def test_what_systemd_can_not_do_is_told_in_its_words_and_nothing_is_left(
    systemd: Systemd, tmp_path: Path
) -> None:
    (systemd.units / "good.service").write_text(unit("/bin/sleep 300"))
    (systemd.units / "broken.service").write_text(unit("/nowhere/program"))
    bench = Bench(host_parts(tmp_path, systemd.handler(tmp_path)))
    try:
        for rev, name in ((1, "broken.service"), (2, "nobody.service")):
            wanted = {"good.service": {"running": True}, name: {"running": True}}
            bench.take(rev, {"services": wanted})
            report = await bench.reported(rev, "rolled_back")
            assert report["error"]["code"] == "service_failed"
            assert name in report["error"]["message"]
            assert systemd.ask("is-active", "good.service") == "inactive"
        assert "not found" in report["error"]["message"]
    finally:
        await bench.stop()


async def test_a_unit_that_somebody_stops_is_started_again(
    systemd: Systemd, tmp_path: Path
) -> None:
    (systemd.units / "cam.service").write_text(unit("/bin/sleep 300"))
    bench = Bench(host_parts(tmp_path, systemd.handler(tmp_path)))
    try:
        bench.take(1, {"services": {"cam.service": {"running": True}}, "drift": {"interval_s": 1}})
        await bench.reported(1, "applied")
        systemd.ask("stop", "cam.service")
        bench.clock.advance(2)
        bench.service._wake.set()
        await eventually(lambda: bench.events("drift"), WITHIN_S)
        assert bench.events("drift")[0]["action"] == "repaired"
        assert systemd.ask("is-active", "cam.service") == "active"
    finally:
        await bench.stop()
