"""How a shim is started, and what it says of that."""

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

from farshore_protocol.tasks.settings import ProcessSettings

import farshore_edge
from farshore_edge.tasks.drivers.limits.model import Cage
from farshore_edge.tasks.drivers.model import DriverError, Work
from farshore_edge.tasks.drivers.process.run_files import MARK, mark_of
from farshore_edge.tasks.drivers.shim.program import UNCONFINED

PACKAGES = str(Path(farshore_edge.__file__).parents[1])
SHIM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from farshore_edge.tasks.drivers.shim.main import main; sys.exit(main(sys.argv[2:]))"
)
"""An interpreter that sees this package alone; a module, unlike a script, is compiled once for all."""


def shim_argv(work: Work, cage: Cage, number: int) -> list[str]:
    box, run = cage.confinement, work.run
    options = [
        f"cwd={work.folder / run.cwd}",
        f"output={work.output}",
        f"mark={mark_of(work)}",
        f"term={int(getattr(signal, work.stop_signal, signal.SIGTERM))}",
        f"oom={box.oom_score_adj}",
        *(f"procs={file}" for file in box.procs_files),
        *(f"kill={file}" for file in box.kill_files),
        *([] if box.freezer_file is None else [f"freezer={box.freezer_file}"]),
        *(f"rlimit={name}:{most}" for name, most in box.rlimits.items()),
        *(f"cpu={number}" for number in box.cpus or work.cpus),
    ]
    if work.lease is not None:
        options.append(f"lease={work.lease}")
    if (user := user_of(run, work.folder)) is not None:
        groups = ",".join(map(str, os.getgrouplist(user.pw_name, user.pw_gid)))
        options += [f"uid={user.pw_uid}", f"gid={user.pw_gid}", f"groups={groups}"]
        os.chown(work.folder, user.pw_uid, user.pw_gid)
    return [
        *(sys.executable, "-I", "-S", "-c", SHIM, PACKAGES),
        *(str(work.state), str(number), *options),
    ]


def user_of(run: ProcessSettings, folder: Path) -> pwd.struct_passwd | None:
    """None: as the agent itself. Raises DriverError, also where the user can't come to the folder."""
    if run.user is None:
        return None
    try:
        user = pwd.getpwuid(int(run.user)) if run.user.isdecimal() else pwd.getpwnam(run.user)
    except (KeyError, OverflowError) as exc:
        raise DriverError(
            "no_user", f"user {run.user}: there is none here", permanent=True
        ) from exc
    if user.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        why = f"user {run.user}: the agent runs as user {os.geteuid()} and can't become another"
        raise DriverError("not_permitted", why, permanent=True)
    for each in folder.absolute().parents:
        if not each.stat().st_mode & 0o001:
            why = f"user {run.user} can't enter {each}; chmod o+x {each}"
            raise DriverError("not_permitted", why)
    return user


class CageGoneError(DriverError):
    """The group that was made for it was not there any more."""


def refused(word: str, rest: str) -> DriverError:
    if word != "error":
        return DriverError("not_started", f"the shim did not start it: {word or 'it died'} {rest}")
    number, _, words = rest.partition(" ")
    if number == "2" and words.startswith(UNCONFINED):
        return CageGoneError("not_started", words)
    missing = number in ("2", "13", "8")  # ENOENT, EACCES, ENOEXEC
    return DriverError("no_program" if missing else "not_started", words)


async def spawned(work: Work, argv: list[str]) -> str:
    """The shim's first line. A start is never cut short before it is known."""
    env = {**work.env, MARK: mark_of(work).partition("=")[2]}
    child = subprocess.Popen(  # noqa: S603, ASYNC220 # fork and exec alone; its word is awaited
        argv,
        env=env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    child.returncode = 0  # it is nobody's to wait for: ``ending.Gone`` does
    pipe = child.stdout
    if pipe is None:
        raise OSError("there is no pipe to its shim")
    with pipe:
        line = await _line(pipe.fileno())
    if not line.startswith("started"):
        with contextlib.suppress(OSError):
            await asyncio.to_thread(os.waitpid, child.pid, 0)
    return line


async def _line(pipe: int) -> str:
    """The first line of a pipe, or what there is of it at its end."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    got = bytearray()

    def readable() -> None:
        with contextlib.suppress(BlockingIOError):
            part = os.read(pipe, 4096)
            got.extend(part)
            if not part or b"\n" in part:
                loop.remove_reader(pipe)
                done.set()

    os.set_blocking(pipe, False)
    loop.add_reader(pipe, readable)
    try:
        await done.wait()
    finally:
        loop.remove_reader(pipe)
    return got.decode(errors="replace").strip()
