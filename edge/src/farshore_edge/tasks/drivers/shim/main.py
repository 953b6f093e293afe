"""The shim's life: one program, its end, and its lease."""

import _signal as signal  # type: ignore[import-not-found] # as ``signal``, with a quarter less memory
import fcntl
import os

from farshore_edge.tasks.drivers.shim.members import PAUSE_S, adopt_orphans, end_all
from farshore_edge.tasks.drivers.shim.options import Options
from farshore_edge.tasks.drivers.shim.program import become
from farshore_edge.tasks.drivers.shim.system import (
    boot_id,
    boot_s,
    bytes_of,
    read,
    started,
    write,
)

LATER_S = 0.3
"""Behind the agent, which begins the orderly stop itself where it lives."""
LOOK_S = 1.0


def main(words: list[str]) -> int:
    split = words.index("--")
    folder, number = words[0], words[1]
    options, argv = Options(words[2:split]), words[split + 1 :]
    lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return say("busy")
    if read(f"{folder}/number").strip() != number:
        return say("late")  # the agent that started it died, and another one goes on
    if "lease" in options.plain and boot_s() >= _lease(options.plain["lease"])[1]:
        return say("over its lease has ended")  # the agent was frozen when it began this
    return _run(folder, number, options, argv)


def _run(folder: str, number: str, options: Options, argv: list[str]) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, signal.SIG_IGN)
    if not options.several["procs"]:
        adopt_orphans()
    began_s = boot_s()
    heard, said = os.pipe()
    leader = os.fork()
    if leader == 0:
        become(said, options, argv)
    os.close(said)
    own = os.getpid()
    words = (number, own, started(own), leader, started(leader), boot_id())
    write(f"{folder}/started", " ".join(map(str, words)), durable=False)
    trouble = bytes_of(heard).decode(errors="replace")
    os.close(heard)
    if trouble:
        os.waitpid(leader, 0)
        write(f"{folder}/exit", f"{number} error 0 0\n{trouble}")
        return say(f"error {trouble}")
    say(f"started {leader} {started(leader)}")
    status = _watch(leader, options)
    kind, value = ("signal", -status) if status < 0 else ("code", status)
    write(f"{folder}/exit", f"{number} {kind} {value} {boot_s() - began_s:.3f}")
    end_all(leader, options)
    return 0


def say(line: str) -> int:
    """To the agent, which may be gone; nothing is said after it."""
    try:  # noqa: SIM105 # contextlib takes memory that every run would pay for
        os.write(1, line.encode(errors="replace") + b"\n")
    except OSError:
        pass
    void = os.open("/dev/null", os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(void, each)
    os.close(void)
    return 0


def _watch(leader: int, options: Options) -> int:
    """The exit code, or minus the signal."""
    lease = options.plain.get("lease")
    told = False
    while True:
        status = _ended(leader)
        if status is not None:
            return os.waitstatus_to_exitcode(status)
        if lease is None:
            signal.sigwaitinfo({signal.SIGCHLD})
            continue
        stop_s, kill_s = _lease(lease)
        now_s = boot_s()
        if now_s >= kill_s:
            end_all(leader, options)
        elif now_s >= stop_s + LATER_S and not told:
            told = True
            _tell(leader, options.number("term", signal.SIGTERM))
        due_s = kill_s if told else min(stop_s + LATER_S, kill_s)
        signal.sigtimedwait({signal.SIGCHLD}, min(max(due_s - now_s, PAUSE_S), LOOK_S))


def _ended(leader: int) -> int | None:
    """Its status once it has ended; orphans that were adopted are let go of on the way."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == leader:
            return status
        if pid == 0:
            return None


def _lease(file: str) -> tuple[float, float]:
    """When it is to be asked to end, and when it is killed; one that can't be read is over."""
    words = read(file).split()
    try:
        if words[0] != boot_id():
            return 0.0, 0.0
        return float(words[1]), float(words[2])
    except (IndexError, ValueError):
        return 0.0, 0.0


def _tell(leader: int, number: int) -> None:
    try:  # noqa: SIM105 # as above
        os.killpg(leader, number)
    except OSError:
        pass
