"""What a task says of its Python program, and the recipe of the environment that it needs. Pure."""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Entry = Annotated[
    str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$", max_length=256)
]
Requirement = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][^\x00\n]*$", max_length=512)]
Inside = Annotated[str, Meta(pattern=r"^[^/\x00][^\x00]*$", max_length=512)]
Argument = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=4096)]
User = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonSettings:
    """``entry``: ``module:function``, called as pip's scripts are: without arguments, ``args`` behind the
    program's name in ``sys.argv``, its answer is the exit code. Modules in the instance's folder come
    before all others.

    ``wheel``: an artifact, under the wheel's own name. ``wheels``: a folder of further ones, in which
    what is required is looked for. ``requirements``: as pip takes them; without an ``index`` (HTTPS)
    nothing is fetched from anywhere. ``system_packages``: those of the agent's Python are seen as well.
    ``user``: whom it runs as, for an agent that runs as root.
    """

    entry: Entry
    args: tuple[Argument, ...] = ()
    wheel: Annotated[str, Meta(pattern=r"^[^/\x00][^\x00]*\.whl$", max_length=512)] | None = None
    wheels: Inside | None = None
    requirements: tuple[Requirement, ...] = ()
    index: Annotated[str, Meta(pattern=r"^https://\S+$", max_length=1024)] | None = None
    system_packages: bool = False
    user: User | None = None

    def __post_init__(self) -> None:
        for each in self.requirements:
            if "@" in each and self.index is None:
                raise ValueError(
                    f"requirements: {each}: it names an address, and nothing is fetched without an "
                    "index; expected an artifact"
                )


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
