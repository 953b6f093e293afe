"""The driver ``process``: a program of this machine, held by a shim that outlives the agent.

All that finds a run again lies in files of its ``state`` folder (``drivers/shim.py``), so a trace is not
needed. A process is known by its number and its start, never by the number alone.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farshore_protocol.tasks.settings import ProcessSettings

from farshore_edge.commands.verbs.table import Seen, lives, own_memory_bytes, process
from farshore_edge.tasks.drivers import ending, shim
from farshore_edge.tasks.drivers.limits.model import Cage, Cages, OpenCages
from farshore_edge.tasks.drivers.model import DriverError, Exit, Usage, Work

log = logging.getLogger(__name__)

MARK = "FARSHORE_TASK_MARK"
ADOPT_S = 10.0
LAST_WORDS_S = 5.0
"""For a shim to go, after its program has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a shim has written of a run: its own process and the program's."""

    number: int
    shim_pid: int
    shim_started: int
    pid: int
    started: int
    boot: str


class ProcessRun:
    """``begun`` is None, and ``gone`` with it, where its end was found already."""

    def __init__(self, work: Work, cage: Cage, begun: Begun | None, number: int) -> None:
        self._work = work
        self._cage = cage
        self._begun = begun
        self._number = number
        self._gone = None if begun is None else ending.Gone(begun.shim_pid, begun.shim_started)
        self._leader = None if begun is None else process(begun.pid)
        if self._leader is not None and begun is not None and self._leader.started != begun.started:
            self._leader = None

    @property
    def trace(self) -> Mapping[str, Any]:
        return {} if self._begun is None else {"pid": self._begun.pid, "number": self._number}

    @property
    def pid(self) -> int | None:
        return None if self._begun is None else self._begun.pid

    async def wait(self) -> Exit:
        if self._gone is not None:
            await self._gone.event.wait()
        end = exit_of(self._work.state, self._number)
        if end is None:  # the shim was killed: nobody looks after the rest any more
            await self._kill()
        oom = self._cage.was_oom()
        self._cage.remove()
        return Exit(
            exit_code=end.exit_code if end else None, signal=end.signal if end else None, oom=oom
        )

    async def stop(self, signal: str, grace_s: float) -> Exit:
        if self._gone is None or self._gone.event.is_set():
            return await self.wait()
        self._tell(signal)
        if not await self._within(grace_s):
            await self._kill()
            if not await self._within(LAST_WORDS_S):
                raise DriverError("not_ended", f"{self._who()} does not end, not even by SIGKILL")
        return await self.wait()

    def _tell(self, name: str) -> None:
        leader = self._leader
        if leader is not None and lives(leader):
            with contextlib.suppress(OSError):
                os.killpg(leader.pid, getattr(signal, name, signal.SIGTERM))

    async def _within(self, seconds: float) -> bool:
        if self._gone is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gone.event.wait()
        return self._gone.event.is_set()

    async def _kill(self) -> None:
        own = set() if self._begun is None else {self._begun.shim_pid}

        def look() -> list[Seen]:
            found = ending.members(self._leader, mark_of(self._work), self._cage.pids())
            return [seen for seen in found if seen.pid not in own]

        left = await ending.kill_all(look)
        if left:
            names = ", ".join(f"{seen.name} (pid {seen.pid})" for seen in left)
            raise DriverError("not_ended", f"{names}: not ended, not even by SIGKILL")

    def _who(self) -> str:
        return f"pid {self.pid}"

    async def usage(self) -> Usage | None:
        if (found := self._cage.usage()) is not None:
            return found
        return await asyncio.to_thread(self._counted)

    def _counted(self) -> Usage | None:
        if self._leader is None or not lives(self._leader):
            return None
        seen = ending.members(self._leader, mark_of(self._work), self._cage.pids())
        own = -1 if self._begun is None else self._begun.shim_pid
        pids = [each for each in seen if each.pid != own]
        return Usage(
            cpu_s=sum(each.cpu_s for each in pids),
            memory_bytes=own_memory_bytes(each.pid for each in pids),
        )


class ProcessDriver:
    """``folder``: of all instances of this agent, as it is written into marks."""

    name = "process"
    settings = ProcessSettings

    def __init__(self, folder: Path, cages: Cages | None = None) -> None:
        self._folder = folder.absolute()
        self._cages = cages or OpenCages()

    async def available(self) -> str | None:
        return None if process(os.getpid()) is not None else "this machine has no /proc"

    async def prepare(self, work: Work) -> None:
        user_of(work.run, work.folder)
        folder = work.folder / work.run.cwd
        if not folder.is_dir():
            raise DriverError("no_folder", f"cwd {folder}: there is no such folder")

    async def start(self, work: Work) -> ProcessRun:
        cage = self._cages.make(work)
        try:
            number = begin(work.state)
            argv = [*_shim_argv(work, cage, number), "--", *work.run.argv]
            said = await self._spawn(work, argv)
        except (OSError, ValueError) as exc:
            cage.remove()
            raise DriverError("not_started", f"{work.run.argv[0]} can't be started: {exc}") from exc
        word, _, rest = said.partition(" ")
        if word != "started":
            cage.remove()
            raise _refused(word, rest)
        begun = begun_of(work.state)
        if begun is None:  # its disk can't be written: it runs, and is known by what was said
            raise DriverError("no_state", f"{work.state}: the shim could not write there")
        return ProcessRun(work, cage, begun, number)

    async def _spawn(self, work: Work, argv: list[str]) -> str:
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

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> ProcessRun | None:  # noqa: ARG002 # its files say all
        return await self._found(work)

    async def _found(self, work: Work) -> ProcessRun | None:
        cage = self._cages.find(work.id)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + ADOPT_S
        while True:
            with _locked(work.state) as ours:
                if ours:
                    return await self._left(work, cage)
            begun = begun_of(work.state)
            if begun is not None and begun.number == number_of(work.state):
                return ProcessRun(work, cage, begun, begun.number)
            if loop.time() > until_s:
                raise DriverError("no_answer", "its shim lives, and does not say what it has begun")
            await asyncio.sleep(ending.PAUSE_S)

    async def _left(self, work: Work, cage: Cage) -> ProcessRun | None:
        """No shim lives. What it has not ended itself is ended, and one that comes late begins nothing."""
        begun, number = begun_of(work.state), number_of(work.state)
        run = None
        if exit_of(work.state, number) is not None:
            run = ProcessRun(work, cage, None, number)
        elif begun is not None and begun.number == number and begun.boot == shim.boot_id():
            run = ProcessRun(work, cage, begun, number)
            await run.wait()  # ends what is left of it
        if run is None:
            with contextlib.suppress(OSError):
                begin(work.state)
            await ProcessRun(work, cage, None, number)._kill()
        return run

    async def sweep(self, keep: frozenset[str]) -> list[str]:
        known = {f"{MARK}={self._folder / each}" for each in keep}

        def look() -> list[Seen]:
            return [
                seen
                for seen, mark in _all_marked(f"{MARK}={self._folder}/")
                if mark not in known and seen.pid != os.getpid()
            ]

        found = await asyncio.to_thread(look)
        if found:
            await ending.kill_all(look)
        return [f"{seen.name} (pid {seen.pid})" for seen in found]

    async def remove(self, work: Work) -> None:
        for name in ("started", "exit"):
            with contextlib.suppress(OSError):
                (work.state / name).unlink()
        self._cages.find(work.id).remove()


def mark_of(work: Work) -> str:
    """Of each process of the instance, in its environment."""
    return f"{MARK}={work.state.parent}"


def _shim_argv(work: Work, cage: Cage, number: int) -> list[str]:
    box, run = cage.confinement, work.run
    options = [
        f"cwd={work.folder / run.cwd}",
        f"output={work.output}",
        f"mark={mark_of(work)}",
        f"term={int(getattr(signal, work.stop_signal, signal.SIGTERM))}",
        f"oom={box.oom_score_adj}",
        *(f"procs={file}" for file in box.procs_files),
        *(f"rlimit={name}:{most}" for name, most in box.rlimits.items()),
        *(f"cpu={number}" for number in box.cpus or work.cpus),
    ]
    if work.lease is not None:
        options.append(f"lease={work.lease}")
    if (user := user_of(run, work.folder)) is not None:
        groups = ",".join(map(str, os.getgrouplist(user.pw_name, user.pw_gid)))
        options += [f"uid={user.pw_uid}", f"gid={user.pw_gid}", f"groups={groups}"]
        os.chown(work.folder, user.pw_uid, user.pw_gid)
    return [sys.executable, "-I", "-S", shim.__file__, str(work.state), str(number), *options]


def user_of(run: ProcessSettings, folder: Path) -> pwd.struct_passwd | None:
    """None: as the agent itself. Raises DriverError."""
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


def _refused(word: str, rest: str) -> DriverError:
    if word != "error":
        return DriverError("not_started", f"the shim did not start it: {word or 'it died'} {rest}")
    number, _, words = rest.partition(" ")
    missing = number in ("2", "13", "8")  # ENOENT, EACCES, ENOEXEC
    return DriverError("no_program" if missing else "not_started", words)


# The files of a run


def number_of(state: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((state / "number").read_text("ascii"))
    return 0


def begin(state: Path) -> int:
    """The number of the next run; a shim with another one begins nothing from now on."""
    number = number_of(state) + 1
    for name in ("started", "exit"):
        with contextlib.suppress(FileNotFoundError):
            (state / name).unlink()
    staged = state / "number.new"
    staged.write_text(str(number), "ascii")
    staged.replace(state / "number")
    return number


def begun_of(state: Path) -> Begun | None:
    try:
        *numbers, boot = (state / "started").read_text("ascii").split()
        number, shim_pid, shim_started, pid, started = map(int, numbers)
    except (OSError, ValueError):
        return None
    return Begun(
        number=number,
        shim_pid=shim_pid,
        shim_started=shim_started,
        pid=pid,
        started=started,
        boot=boot,
    )


def exit_of(state: Path, number: int) -> Exit | None:
    try:
        words = (state / "exit").read_text(errors="replace").split()
        if int(words[0]) != number:
            return None
        value = int(words[2])
    except (OSError, ValueError, IndexError):
        return None
    if words[1] == "signal":
        with contextlib.suppress(ValueError):
            return Exit(signal=signal.Signals(value).name)
        return Exit(signal=f"SIG{value}")
    return Exit(exit_code=value if words[1] == "code" else 127)


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[bool]:
    """Whether no shim lives; while this lasts, none begins anything."""
    state.mkdir(parents=True, exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)


def _all_marked(prefix: str) -> list[tuple[Seen, str]]:
    """The instance's mark of whoever has one that begins so."""
    found = []
    wanted = prefix.encode()
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
            for word in file.read().split(b"\0"):
                if word.startswith(wanted) and (seen := process(int(entry))) is not None:
                    found.append((seen, word.decode(errors="replace")))
    return found


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
