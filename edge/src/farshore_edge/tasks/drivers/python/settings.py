"""The recipe of the environment that a task's Python program needs. Pure."""

import hashlib
import json
from dataclasses import dataclass

from farshore_protocol.tasks.settings import PythonSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that an environment depends on. ``files``: name and digest of each wheel that it may use."""

    python: str
    requirements: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    index: str | None = None
    system_packages: bool = False

    @property
    def digest(self) -> str:
        words = [
            self.python,
            self.index,
            self.system_packages,
            sorted(self.requirements),
            sorted(self.files),
        ]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:24]


def pip_arguments(
    run: PythonSettings, *, wheel: str | None, wheels: str | None
) -> list[str] | None:
    """What follows ``pip install``; None where there is nothing to install."""
    wanted = [*([wheel] if wheel else []), *run.requirements]
    if not wanted:
        return None
    options = ["--no-input", "--disable-pip-version-check", "--quiet", "--no-compile"]
    # A source archive would run its own code in order to become a wheel.
    options.append("--only-binary=:all:")
    options += ["--no-index"] if run.index is None else [f"--index-url={run.index}"]
    options += [f"--find-links={wheels}"] if wheels else []
    return [*options, "--", *wanted]
