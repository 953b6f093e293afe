"""``processes``, ``services``, ``file-read``, ``file-write`` and ``logs`` on this machine."""

import asyncio
import base64
import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.commands.policy import Accepted, Policy, Refused, judge
from farshore_edge.commands.verbs import Context, Outcome, files, logs, processes, services
from farshore_edge.config.folders import Folders
from farshore_protocol.codec import convert
from farshore_protocol.commands import VERBS, Command, Output
from hypothesis import given
from hypothesis import strategies as st


class Run:
    """Calls a verb with arguments as they come in a command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders = Folders((root,), root.parent / "agent", setting="read_roots")
        self.output: list[Output] = []
        self.output_max_bytes = 256 * 1024

    async def _emit(self, chunk: Output) -> None:
        self.output.append(chunk)

    async def __call__(self, handler: Any, verb: str, **args: Any) -> Outcome:
        context = Context(
            timeout_s=20, output_max_bytes=self.output_max_bytes, emit=self._emit, command_id="c"
        )
        outcome: Outcome = await handler(convert(VERBS[verb].args, args), context)
        if outcome.state == "succeeded":
            kind = VERBS[verb].result
            assert kind is not None
            convert(kind, outcome.result)  # it keeps to its schema
        return outcome

    async def read(self, path: Path | str, **args: Any) -> Outcome:
        return await self(files.read(self.folders), "file-read", path=str(path), **args)

    async def write(self, path: Path | str, **args: Any) -> Outcome:
        return await self(files.write(self.folders), "file-write", path=str(path), **args)

    def text(self) -> str:
        return "".join(chunk.text for chunk in self.output)


def code(outcome: Outcome) -> str:
    assert outcome.error is not None, outcome
    return outcome.error.code


@pytest.fixture
def run(tmp_path: Path) -> Run:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "agent").mkdir()
    return Run(root)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Files


async def test_a_file_is_read_piece_by_piece(run: Run) -> None:
    data = os.urandom(100_000)
    (run.root / "big").write_bytes(data)
    got, end = b"", False
    while not end:
        outcome = await run.read(run.root / "big", offset=len(got))
        result = outcome.result or {}
        piece = base64.b64decode(result["data"])
        assert result["sha256"] == sha256(piece)
        got, end = got + piece, result["end"]
        assert result["size"] == len(data)
    assert got == data


async def test_text_comes_as_text_and_what_json_would_blow_up_as_base64(run: Run) -> None:
    (run.root / "a").write_text("größer\n")
    assert ((await run.read(run.root / "a")).result or {})["data"] == "größer\n"
    (run.root / "b").write_bytes(b"\0" * 48 * 1024)
    assert ((await run.read(run.root / "b")).result or {})["encoding"] == "base64"
    (run.root / "c").write_bytes(b"\xff")
    assert code(await run.read(run.root / "c", encoding="text")) == "not_text"


async def test_what_is_not_below_the_roots_can_be_neither_read_nor_written(run: Run) -> None:
    secret = run.root.parent / "secret"
    secret.write_text("s")
    (run.root / "link").symlink_to(secret)
    (run.root / "folder").symlink_to(run.root.parent)
    (run.root / "fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(run.root / "fifo")
    for path in (secret, run.root / "folder" / "secret", f"{run.root}/../secret", "/etc/passwd"):
        assert code(await run.read(path)) in ("outside_roots", "bad_path")
        assert code(await run.write(path, data="x")) in ("outside_roots", "bad_path")
    assert code(await run.read(run.root / "link")) == "io_error"
    assert code(await run.write(run.root / "link", data="x")) == "not_a_file"
    assert code(await run.read(run.root / "fifo")) == "not_a_file"
    assert code(await run.read(run.root / "none")) == "not_found"
    nowhere = Folders((), run.root, setting="read_roots")
    refused = await run(files.read(nowhere), "file-read", path=str(secret))
    assert "read_roots is empty" in (refused.error.message if refused.error else "")
    twice = Folders((run.root, run.root), run.root, setting="read_roots")
    refused = await run(files.read(twice), "file-read", path=str(secret))
    assert (refused.error.message if refused.error else "").count(str(run.root)) == 1
    assert secret.read_text() == "s"


async def test_a_file_is_written_whole_with_its_mode_and_owner(run: Run) -> None:
    file = run.root / "app.conf"
    made = (await run.write(file, data="a=1\n", sha256=sha256(b"a=1\n"), expect="absent")).result
    assert made == {
        "path": str(file), "size": 4, "sha256": sha256(b"a=1\n"), "before": None, "changed": True,
    }  # fmt: skip
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("a=1\n", 0o644)
    file.chmod(0o600)
    again = (await run.write(file, data="a=2\n", expect=sha256(b"a=1\n"))).result or {}
    assert (again["before"], again["changed"]) == (sha256(b"a=1\n"), True)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("a=2\n", 0o600)
    await run.write(file, data="a=2\n", mode="0640")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in run.root.iterdir()] == ["app.conf"], "nothing is left beside it"


async def test_what_does_not_fit_is_not_written(run: Run) -> None:
    file = run.root / "app.conf"
    file.write_text("old")
    assert code(await run.write(file, data="new", sha256=sha256(b"other"))) == "bad_digest"
    assert code(await run.write(file, data="new", expect="absent")) == "conflict"
    assert code(await run.write(file, data="new", expect=sha256(b"new"))) == "conflict"
    assert code(await run.write(file, data="!", encoding="base64")) == "bad_args"
    assert code(await run.write(file, data="x" * (48 * 1024 + 1))) == "bad_args"
    assert code(await run.write(run.root / "none" / "x", data="x")) == "not_found"
    assert file.read_text() == "old"


@given(st.binary(max_size=2_000), st.integers(0, 2_500), st.integers(1, 2_500))
def test_what_was_written_is_read(data: bytes, offset: int, length: int) -> None:
    async def story(root: Path) -> None:
        run = Run(root)
        encoded = base64.b64encode(data).decode()
        await run.write(root / "f", data=encoded, encoding="base64")
        result = (await run.read(root / "f", offset=offset, length=length)).result or {}
        text = result["data"]
        piece = base64.b64decode(text) if result["encoding"] == "base64" else text.encode()
        assert piece == data[offset : offset + length]
        assert result["end"] == (offset + length >= len(data))

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "root"
        root.mkdir()
        asyncio.run(story(root))


# Logs


async def test_the_last_lines_of_a_file_that_hold_a_text(run: Run) -> None:
    log = run.root / "app.log"
    log.write_text("".join(f"{'warn' if n % 3 == 0 else 'info'} {n}\n" for n in range(3_000)))
    handler = logs.logs(run.folders)
    outcome = await run(handler, "logs", path=str(log), lines=2, grep="warn")
    assert run.text() == "warn 2994\nwarn 2997\n"
    assert (outcome.result or {})["lines"] == 2
    run.output.clear()
    run.output_max_bytes = 50
    outcome = await run(handler, "logs", path=str(log), lines=1_000)
    assert len(run.text()) <= 50
    assert run.text().endswith("info 2999\n"), "the newest are kept"
    assert (outcome.result or {})["output_cut_bytes"] > 0
    assert code(await run(handler, "logs")) == "bad_args"
    assert code(await run(handler, "logs", path="/etc/passwd")) == "outside_roots"


async def test_a_units_journal_where_its_folder_is_allowed(run: Run, tmp_path: Path) -> None:
    program = tmp_path / "journalctl"
    program.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    program.chmod(0o755)
    handler = logs.logs(run.folders, journalctl=str(program))
    assert code(await run(handler, "logs", unit="cron.service")) == "outside_roots"
    handler = logs.logs(Folders((Path("/var/log"),), tmp_path), journalctl=str(program))
    outcome = await run(handler, "logs", unit="cron.service", lines=7, since="-1h")
    assert outcome.state == "succeeded"
    assert {"--unit=cron.service", "--lines=7", "--since=-1h"} <= set(run.text().splitlines())
    missing = logs.logs(Folders((Path("/var/log"),), tmp_path), journalctl="/no/journalctl")
    assert code(await run(missing, "logs", unit="cron.service")) == "unsupported"


# Processes


def test_a_busy_process_is_found_with_what_it_uses(run: Run) -> None:
    script = "import sys; print('up', flush=True)\nwhile True: pass"
    argv = [sys.executable, "-S", "-c", script, "a-busy-one"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as busy:
        try:
            assert busy.stdout is not None
            busy.stdout.readline()
            asking = run(processes.run, "processes", name="a-busy-one", interval_s=0.5)
            outcome = asyncio.run(asking)
        finally:
            busy.kill()
    [row] = (outcome.result or {})["processes"]
    assert row["pid"] == busy.pid
    assert row["ppid"] == os.getpid()
    assert row["cpu_percent"] > 5
    assert row["memory_bytes"] > 1_000_000


async def test_processes_are_sorted_and_limited(run: Run) -> None:
    outcome = await run(processes.run, "processes", sort="memory", limit=2, interval_s=0.05)
    result = outcome.result or {}
    assert len(result["processes"]) == 2 <= result["count"]
    first, second = result["processes"]
    assert first["memory_bytes"] >= second["memory_bytes"]


# Services

SYSTEMCTL = """#!/bin/sh
echo "$@" >> {calls}
shift  # --no-pager
case $1 in
list-units) echo "  old.service   loaded inactive dead    An old one"
            echo "● broken.service loaded failed failed Breaks now and then"
            echo "  cron.service  loaded active running Regular background programs";;
show) case "$*" in *none*) echo Id=none.service; echo LoadState=not-found;;
      *) printf 'Id=cron.service\\nLoadState=loaded\\nActiveState=active\\nSubState=running\\n'
         printf 'Description=a=b\\nMainPID=12\\nNRestarts=3\\nMemoryCurrent=18446744073709551615\\n';; esac;;
restart) [ "$3" = broken.service ] && { echo "Job failed." >&2; exit 1; };;
start) [ "$3" = none.service ] && { echo "Unit none.service not found." >&2; exit 5; };;
esac
exit 0
"""


async def test_services_by_systemctl(run: Run, tmp_path: Path) -> None:
    program, calls = tmp_path / "systemctl", tmp_path / "calls"
    program.write_text(SYSTEMCTL.replace("{calls}", str(calls)))
    program.chmod(0o755)
    handler = services.services(systemctl=str(program), runs=lambda: True)

    listed = (await run(handler, "services")).result or {}
    assert [(row["unit"], row["active"]) for row in listed["services"]] == [
        ("broken.service", "failed"),
        ("cron.service", "active"),
        ("old.service", "inactive"),
    ]
    assert listed["services"][1]["description"] == "Regular background programs"
    [row] = ((await run(handler, "services", action="restart", unit="cron")).result or {})[
        "services"
    ]
    assert "--no-pager restart -- cron.service" in calls.read_text().splitlines()
    assert (row["pid"], row["restarts"], row["description"], row["memory_bytes"]) == (
        12, 3, "a=b", None,
    )  # fmt: skip
    failed = await run(handler, "services", action="restart", unit="broken.service")
    assert code(failed) == "exit"
    assert "Job failed." in (failed.error.message if failed.error else "")
    assert code(await run(handler, "services", action="start", unit="none.service")) == "not_found"
    assert code(await run(handler, "services", action="status", unit="none")) == "not_found"


async def test_without_systemd_services_say_so(run: Run) -> None:
    handler = services.services(runs=lambda: False)
    assert code(await run(handler, "services")) == "unsupported"


def test_asking_for_services_is_taken_unsigned_and_changing_them_is_not() -> None:
    def word(**args: Any) -> Accepted | Refused:
        command = Command(args=args)
        return judge("services", command, policy=Policy(), known=VERBS, center_ms=None)

    for asking in (word(), word(action="status", unit="cron")):
        assert isinstance(asking, Accepted)
        assert asking.risk == "read"
    for refused, expected in (
        (word(action="stop", unit="cron"), "unsigned"),
        (word(action="stop"), "bad_args"),
        (word(action="list", unit="cron"), "bad_args"),
        (word(action="stop", unit="--now"), "bad_args"),
    ):
        assert isinstance(refused, Refused)
        assert refused.error.code == expected


async def test_a_write_that_is_killed_leaves_the_old_file_whole(run: Run) -> None:
    file = run.root / "f"
    file.write_text("old" * 1_000)
    script = (
        "import asyncio, itertools, sys\n"
        "from edge.test_edge_machine_verbs import Run\n"
        "from pathlib import Path\n"
        "async def main():\n"
        "    run = Run(Path(sys.argv[1]))\n"
        "    for n in itertools.count():\n"
        "        await run.write(run.root / 'f', data=('new', 'old')[n % 2] * 1000)\n"
        "        print(n, flush=True)\n"
        "asyncio.run(main())"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    for turn in range(5):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, str(run.root)),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert process.stdout is not None
        for _ in range(turn * 7 + 1):
            await process.stdout.readline()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        assert file.read_text() in ("old" * 1_000, "new" * 1_000)
