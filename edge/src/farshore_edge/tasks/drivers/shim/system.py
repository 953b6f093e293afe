"""What the shim asks of the kernel, and small files: without a module that it could do without."""

import os
import time


def boot_s() -> float:
    """Seconds since the machine's start, its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    return read("/proc/sys/kernel/random/boot_id").strip() or "-"


def started(pid: int) -> str:
    """In ticks since the machine's start; with the pid it names a process for good."""
    words = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
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


def put(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def read(path: str) -> str:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return bytes_of(file).decode(errors="replace")
    finally:
        os.close(file)


def bytes_of(file: int) -> bytes:
    whole = b""
    try:
        while part := os.read(file, 65536):
            whole += part
    except OSError:
        pass
    return whole
