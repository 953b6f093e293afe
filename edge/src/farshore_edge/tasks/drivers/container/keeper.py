"""A program: ends a container when its lease does, where no agent lives to do it.

It is run as a file with the standard library alone, in a session of its own. The lease is a file, read
again and again: ``BOOT STOP KILL …``, in seconds of CLOCK_BOOTTIME; a lease that can't be read, or is of
another boot, is over. The engine is asked; where it does not answer, the container's first process is
killed, known by its number and its start.
"""

import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import sys
import time

LATER_S = 0.5
"""A living agent asks the container to end, and is not to be anticipated."""
LOOK_S = 2.0
LEAST_S = 0.05
ANSWER_S = 10.0


def read_lease(text: str, boot: str) -> tuple[float, float]:
    """When it is to be asked to end, and when it is killed."""
    words = text.split()
    try:
        if words[0] == boot:
            return float(words[1]), float(words[2])
    except (IndexError, ValueError):
        pass
    return 0.0, 0.0


class _Engine(http.client.HTTPConnection):
    """Docker's API; paths without a version are answered in the engine's own."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(self._path)


def ask(path: str, method: str, target: str) -> tuple[int, bytes]:
    """Status and body. Raises OSError, HTTPException."""
    engine = _Engine(path)
    try:
        engine.request(method, target)
        answer = engine.getresponse()
        return answer.status, answer.read()
    finally:
        engine.close()


class Keeper:
    def __init__(
        self, engine: str, container: str, lease: str, stop_signal: str, pid: int, started: str
    ) -> None:
        self._engine = engine
        self._container = container
        self._lease = lease
        self._stop_signal = stop_signal
        self._pid = pid
        self._started = started
        self._boot = _text("/proc/sys/kernel/random/boot_id").strip()
        self._told = False

    def run(self) -> None:
        while self._lives():
            stop_s, kill_s = read_lease(_text(self._lease), self._boot)
            now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
            if now_s >= kill_s:
                self._kill()
            elif now_s >= stop_s + LATER_S:
                if not self._told:
                    self._told = self._tell(self._stop_signal)
            else:
                self._told = False  # it was renewed
            due_s = kill_s if self._told else min(stop_s + LATER_S, kill_s)
            time.sleep(min(max(due_s - now_s, LEAST_S), LOOK_S))

    def _lives(self) -> bool:
        if started(self._pid) == self._started:
            return True
        # Its first process is gone, or can't be seen from here.
        try:
            status, body = ask(self._engine, "GET", f"/containers/{self._container}/json")
            if status == 404:
                return False
            return bool(json.loads(body)["State"]["Running"])
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return self._started == "0"

    def _tell(self, name: str) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            target = f"/containers/{self._container}/kill?signal={name}"
            status, _ = ask(self._engine, "POST", target)
            return status < 400
        return False

    def _kill(self) -> None:
        if not self._tell("SIGKILL") and started(self._pid) == self._started:
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)


def started(pid: int) -> str:
    """In ticks since the machine's start; with the number it names a process for good."""
    words = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return words[19] if len(words) > 19 and words[0] not in "ZX" else ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def main(argv: list[str]) -> int:
    engine, container, lease, lock_file, stop_signal, pid, began = argv
    lock = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if _text(lock_file).strip() == container:
            return 0  # somebody keeps it already
        fcntl.flock(lock, fcntl.LOCK_EX)  # the keeper of the run before this one is about to go
    os.ftruncate(lock, 0)
    os.pwrite(lock, container.encode(), 0)
    # The lock is the child's as well, and lasts as long as it lives.
    if os.fork():
        return 0
    os.setsid()
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    Keeper(engine, container, lease, stop_signal, int(pid), began).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
