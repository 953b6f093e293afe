"""A small process between the agent and one run of a task: it outlives the agent.

It starts the program, waits for it, writes down how it ended, and ends what the program has left. Where
the run has a lease, it ends it before the lease does, also while no agent lives. It is started as
``python -I -S shim.py FOLDER NUMBER KEY=VALUE … -- ARGV`` and imports as little as possible, for there
is one for every run. It decides nothing about restarts.

Files in FOLDER: ``lock``, held for as long as it lives; ``number``, of the run that may be begun;
``started`` (number, its own pid and start, the program's pid and start, boot); ``exit`` (number, kind,
value, seconds), whole and synced, or not there. Its one line on standard output says how the start went.
"""

import _signal as signal  # type: ignore[import-not-found] # as ``signal``, with a quarter less memory
import fcntl
import os
import sys
import time

LATER_S = 0.3
"""Behind the agent, which begins the orderly stop itself where it lives."""
LOOK_S = 1.0
KILL_ROUNDS = 250
PAUSE_S = 0.02


class Options:
    """What stands before ``--``; ``procs``, ``rlimit`` and ``cpu`` may come several times."""

    def __init__(self, words: list[str]) -> None:
        self.plain: dict[str, str] = {}
        self.several: dict[str, list[str]] = {"procs": [], "rlimit": [], "cpu": []}
        for word in words:
            name, _, value = word.partition("=")
            if name in self.several:
                self.several[name].append(value)
            else:
                self.plain[name] = value

    def number(self, name: str, default: int) -> int:
        return int(self.plain.get(name, default))


def main(words: list[str]) -> int:
    split = words.index("--")
    folder, number = words[0], words[1]
    options, argv = Options(words[2:split]), words[split + 1 :]
    lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return say("busy")
    if _read(f"{folder}/number").strip() != number:
        return say("late")  # the agent that started it died, and another one goes on
    if "lease" in options.plain and boot_s() >= _lease(options.plain["lease"])[1]:
        return say("over its lease has ended")  # the agent was frozen when it began this
    return _run(folder, number, options, argv)


def _run(folder: str, number: str, options: Options, argv: list[str]) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, signal.SIG_IGN)
    began_s = boot_s()
    heard, said = os.pipe()
    leader = os.fork()
    if leader == 0:
        _become(said, options, argv)
    os.close(said)
    own = os.getpid()
    words = (number, own, started(own), leader, started(leader), boot_id())
    write(f"{folder}/started", " ".join(map(str, words)), durable=False)
    trouble = _all(heard)
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


# The program


def _become(said: int, options: Options, argv: list[str]) -> None:
    """In the child: everything that is imposed on it, and then it is the program. Never returns."""
    stage = "it can't be confined"
    try:
        os.setsid()
        for file in options.several["procs"]:
            _put(file, str(os.getpid()))
        _limit(options)
        stage = "its output can't be written"
        out = os.open(options.plain["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        # The folder is entered first: the user may not be allowed through what lies above it.
        stage = "its folder can't be entered"
        os.chdir(options.plain["cwd"])
        stage = "it can't be run as that user"
        _switch(options)
        for number in range(1, signal.NSIG):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                continue
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        stage = f"{argv[0]} can't be started"
        _exec(argv)
    except BaseException as exc:
        words = getattr(exc, "strerror", None) or str(exc)
        os.write(said, f"{getattr(exc, 'errno', 0) or 0} {stage}: {words}".encode())
    finally:
        os._exit(127)


def _exec(argv: list[str]) -> None:
    """As ``os.execvp``, which imports more, and the user may not be allowed to read that. Raises OSError."""
    environ = dict(os.environ)
    if "/" in argv[0]:
        os.execve(argv[0], argv, environ)  # noqa: S606 # what it is there for
    denied: OSError | None = None
    for folder in environ.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":"):
        try:
            os.execve(f"{folder}/{argv[0]}", argv, environ)  # noqa: S606 # as above
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            denied = exc
    raise denied or FileNotFoundError(2, "No such file or directory")


def _limit(options: Options) -> None:
    if options.several["rlimit"]:
        import resource

        for word in options.several["rlimit"]:
            name, _, most = word.partition(":")
            resource.setrlimit(getattr(resource, name), (int(most), int(most)))
    if options.several["cpu"]:
        os.sched_setaffinity(0, map(int, options.several["cpu"]))
    try:  # noqa: SIM105 # as above
        _put("/proc/self/oom_score_adj", options.plain.get("oom", "0"))
    except OSError:
        pass  # a machine that does not let it stand back runs it all the same


def _switch(options: Options) -> None:
    if "uid" in options.plain:
        os.setgroups([int(each) for each in options.plain["groups"].split(",") if each])
        os.setgid(int(options.plain["gid"]))
        os.setuid(int(options.plain["uid"]))


# Waiting, and the lease


def _watch(leader: int, options: Options) -> int:
    """The exit code, or minus the signal."""
    lease = options.plain.get("lease")
    told = False
    while True:
        pid, status = os.waitpid(leader, os.WNOHANG)
        if pid:
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


def _lease(file: str) -> tuple[float, float]:
    """When it is to be asked to end, and when it is killed; one that can't be read is over."""
    words = _read(file).split()
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


def end_all(leader: int, options: Options) -> None:
    """SIGKILL until nobody of the run is found."""
    for _ in range(KILL_ROUNDS):
        found = members(leader, options)
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(PAUSE_S)


def members(leader: int, options: Options) -> set[int]:
    """Who is of the run: its control group, its session, whoever has its mark, and their children."""
    found = {int(pid) for file in options.several["procs"] for pid in _read(file).split()}
    mark = options.plain["mark"].encode()
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        words = _read(f"/proc/{entry}/stat").rpartition(")")[2].split()
        if len(words) < 20 or words[0] in "ZX":
            continue
        pid = int(entry)
        parents[pid] = int(words[1])
        if leader in (int(words[2]), int(words[3])) or _is_marked(entry, mark):
            found.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found & parents.keys() - {os.getpid()}


def _is_marked(entry: str, mark: bytes) -> bool:
    try:
        file = os.open(f"/proc/{entry}/environ", os.O_RDONLY)
    except OSError:
        return False
    try:
        return mark in _bytes(file).split(b"\0")
    finally:
        os.close(file)


# The system


def boot_s() -> float:
    """Seconds since the machine's start, its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    return _read("/proc/sys/kernel/random/boot_id").strip() or "-"


def started(pid: int) -> str:
    """In ticks since the machine's start; with the pid it names a process for good."""
    words = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return words[19] if len(words) > 19 else "0"


def write(path: str, text: str, *, durable: bool = True) -> None:
    """All of it, or what was there before. A disk that can't be written does not end the run."""
    try:
        file = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, text.encode(errors="replace") + b"\n")
            if durable:
                os.fsync(file)
        finally:
            os.close(file)
        os.replace(f"{path}.new", path)
        if durable:
            folder = os.open(os.path.dirname(path), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError:
        pass


def _put(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def _read(path: str) -> str:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return _bytes(file).decode(errors="replace")
    finally:
        os.close(file)


def _bytes(file: int) -> bytes:
    whole = b""
    try:
        while part := os.read(file, 65536):
            whole += part
    except OSError:
        pass
    return whole


def _all(pipe: int) -> str:
    return _bytes(pipe).decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
