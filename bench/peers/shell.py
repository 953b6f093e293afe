"""One call of a command line, from the start of its process to its end."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.processes import ROOT

WITHIN_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    seconds: float
    out: str


async def call(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Called:
    """BenchError with its last words when it fails or takes too long."""
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=None if env is None else dict(env),
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            out, err = await process.communicate()
    except TimeoutError as exc:
        raise BenchError(f"{argv[0]} did not end within {WITHIN_S:g} s") from exc
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    seconds = time.perf_counter() - begun
    if process.returncode != 0:
        said = (out + err).decode(errors="replace").splitlines()[-8:]
        raise BenchError(
            f"{argv[0]} ended with exit code {process.returncode}:\n" + "\n".join(said)
        )
    return Called(seconds=seconds, out=out.decode(errors="replace"))


def check_answers(out: str, nodes: int, what: str) -> None:
    """Each node's ``uptime`` must be there, or what was measured is not the work."""
    answers = out.count("load average")
    if answers != nodes:
        raise BenchError(f"{what}: {answers} of {nodes} nodes answered:\n{out[-500:]}")
