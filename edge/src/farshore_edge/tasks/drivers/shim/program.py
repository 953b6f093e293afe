"""From the shim's child to the program: everything that is imposed on it, and then it is the program."""

import _signal as signal  # type: ignore[import-not-found] # as ``signal``, with a quarter less memory
import os

from farshore_edge.tasks.drivers.shim.options import Options
from farshore_edge.tasks.drivers.shim.system import put

UNCONFINED = "it can't be confined"


def become(said: int, options: Options, argv: list[str]) -> None:
    """In the child: everything that is imposed on it, and then it is the program. Never returns."""
    stage = UNCONFINED
    try:
        os.setsid()
        for file in options.several["procs"]:
            put(file, str(os.getpid()))
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
        import resource  # an extension of the interpreter, which is there still

        for word in options.several["rlimit"]:
            name, _, most = word.partition(":")
            resource.setrlimit(getattr(resource, name), (int(most), int(most)))
    if options.several["cpu"]:
        os.sched_setaffinity(0, map(int, options.several["cpu"]))
    try:  # noqa: SIM105 # as above
        put("/proc/self/oom_score_adj", options.plain.get("oom", "0"))
    except OSError:
        pass  # a machine that does not let it stand back runs it all the same


def _switch(options: Options) -> None:
    if "uid" in options.plain:
        os.setgroups([int(each) for each in options.plain["groups"].split(",") if each])
        os.setgid(int(options.plain["gid"]))
        os.setuid(int(options.plain["uid"]))
