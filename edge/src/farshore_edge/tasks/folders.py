"""The directories of instances at a node: ``<id>/files`` (its own), ``<id>/state`` (its driver's),
``<id>/output.log`` and ``<id>/lease``. What a batch task leaves as its result lies in ``files``.
"""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import orjson
from farshore_protocol.tasks.messages import MAX_RESULT_BYTES

RESULT = "farshore-result.json"
NOWHERE = Path("/nonexistent/farshore-tasks")
OUTPUT_MAX_BYTES = 16 * 1024 * 1024
"""Of ``output.log``: beyond it, the older half is dropped when it is looked at."""


class Folders:
    """``root`` is None at a node without a disk of its own (a simulated one): then nothing is made."""

    def __init__(self, root: Path | None) -> None:
        self.root = (root or NOWHERE).absolute()
        self._real = root is not None

    def home(self, name: str) -> Path:
        return self.root / name

    def files(self, name: str) -> Path:
        return self.root / name / "files"

    def state(self, name: str) -> Path:
        return self.root / name / "state"

    def output(self, name: str) -> Path:
        return self.root / name / "output.log"

    def result(self, name: str) -> Path:
        return self.files(name) / RESULT

    def make(self, name: str) -> None:
        """Raises OSError. Others may pass through, for tasks of other users; not read."""
        if not self._real:
            return
        for folder in (self.root, self.home(name)):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            os.chmod(folder, 0o711)  # noqa: S103 # to pass through, for tasks of other users
        for folder in (self.files(name), self.state(name)):
            folder.mkdir(mode=0o700, exist_ok=True)

    def remove(self, name: str) -> None:
        if self._real:
            shutil.rmtree(self.home(name), ignore_errors=True)

    def names(self) -> list[str]:
        with contextlib.suppress(OSError):
            return sorted(os.listdir(self.root)) if self._real else []
        return []

    def forget_result(self, name: str) -> None:
        if self._real:
            with contextlib.suppress(OSError):
                self.result(name).unlink()

    def read_result(self, name: str) -> tuple[Any, str | None]:
        """What the task has left, and why that can't be told."""
        if not self._real:
            return None, None
        try:
            with self.result(name).open("rb") as file:
                text = file.read(MAX_RESULT_BYTES + 1)
        except FileNotFoundError:
            return None, None
        except OSError as exc:
            return None, f"its result can't be read: {exc.strerror}"
        if len(text) > MAX_RESULT_BYTES:
            return None, f"its result is left out: more than {MAX_RESULT_BYTES} bytes"
        try:
            return orjson.loads(text), None
        except orjson.JSONDecodeError as exc:
            return None, f"its result is left out: no JSON: {exc}"

    def trim(self, name: str) -> None:
        """Keeps the newer half of an output that has grown too large; its writer goes on."""
        if not self._real:
            return
        with contextlib.suppress(OSError), self.output(name).open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if size > OUTPUT_MAX_BYTES:
                file.seek(size - OUTPUT_MAX_BYTES // 2)
                rest = file.read()
                file.truncate(0)
                file.seek(0)
                file.write(rest[rest.find(b"\n") + 1 :])
