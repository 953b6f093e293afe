"""The peers from PyPI, each in an environment of its own below ``bench/peers/.cache``.

An environment is made once for what its list of packages says and is used again until the list or the
Python changes. A half made one is not taken for a whole one.
"""

import asyncio
import hashlib
import os
import shutil
import sys
from pathlib import Path

from bench.context import Context
from bench.errors import BenchError
from bench.peers.herd import Program, end, start

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
WITHIN_S = 1_200.0
MADE = ".made"


def folder_of(peer: str, packages: str, cache: Path = CACHE) -> Path:
    """Where the environment of these packages lies."""
    asked = f"{sys.version}\n{packages}".encode()
    return cache / f"{peer}-{hashlib.sha256(asked).hexdigest()[:12]}"


async def environment(peer: str, context: Context, cache: Path = CACHE) -> Path:
    """The environment of ``peer``; BenchError with pip's last words when it can't be made."""
    packages = HERE / f"{peer}.txt"
    folder = folder_of(peer, packages.read_text(), cache)
    if (folder / MADE).exists():
        return folder
    context.say(f"{peer} is installed from PyPI into {folder.name}: once, for some minutes")
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = context.folder(f"{peer}-install")
    await _run(peer, (sys.executable, "-m", "venv", str(folder)), log / "venv.log")
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--no-input")
    await _run(peer, (*pip, "--requirement", str(packages)), log / "pip.log")
    (folder / MADE).touch()
    return folder


async def _run(peer: str, argv: tuple[str, ...], log: Path) -> None:
    program = await start(Program(name=f"the installation of {peer}", argv=argv, log=log))
    try:
        await program.finished(WITHIN_S)
    except BenchError as exc:
        raise BenchError(f"{peer} can't be installed: {exc}\n{program.log_end()}") from exc
    finally:
        await asyncio.shield(end([program]))


def clean_environment(home: Path) -> dict[str, str]:
    """The bench's environment without what would steer a peer from outside."""
    steering = ("PYTHON", "ANSIBLE", "SALT", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
    return kept | {"HOME": str(home)}
