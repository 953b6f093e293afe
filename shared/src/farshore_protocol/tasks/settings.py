"""What the built-in drivers take as ``run``, so that a wrong word is refused when a task is written.

A driver that comes as a plugin is not here: the node alone checks its settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from farshore_protocol.config.documents import Argv
from farshore_protocol.tasks.spec import Short

User = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
Folder = Annotated[str, Meta(pattern=r"^[^\x00]+$", max_length=1024)]
Inside = Annotated[str, Meta(pattern=r"^[^/\x00][^\x00]*$", max_length=512)]
Entry = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$", max_length=256),
]
Argument = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=4096)]
Requirement = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][^\x00\n]*$", max_length=512)]
AbsolutePath = Annotated[str, Meta(pattern=r"^/[^\x00]*$", max_length=1024)]
Address = Annotated[str, Meta(pattern=r"^(tcp|tls)://\S+:[0-9]{1,5}$", max_length=512)]
Variable = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
PortNumber = Annotated[int, Meta(ge=1, le=65_535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """``argv``: the program, looked for in ``PATH``, with its arguments. ``cwd``: relative to the
    instance's folder, which is the default. ``user``: whom it runs as, for an agent that runs as root."""

    argv: Argv
    cwd: Folder = "."
    user: User | None = None


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
class Mount:
    """A file or directory of the node, which has to be there, seen at ``target`` in the container."""

    source: AbsolutePath
    target: AbsolutePath
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """``container``'s port can be reached at the node's port ``host``, at ``address`` alone."""

    host: PortNumber
    container: PortNumber
    protocol: Literal["tcp", "udp"] = "tcp"
    address: Short = "0.0.0.0"  # noqa: S104 # what a published port is for; the task may narrow it


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSettings:
    """``image``: with its tag or digest. ``command``, ``entrypoint``, ``user``: in place of the image's.
    ``workdir``: else the image's, else the instance's directory, which is in the container under the
    path that it has at the node. ``pull``: ``missing`` fetches an image that is not there.
    ``init``: a small first process that hands on signals and reaps what is left over; without it the
    program is the first, and gets only the signals that it handles (SIGKILL aside)."""

    image: Annotated[str, Meta(pattern=r"^[^\s\x00]+$", max_length=512)]
    command: Argv | None = None
    entrypoint: Argv | None = None
    user: Short | None = None
    workdir: AbsolutePath | None = None
    mounts: tuple[Mount, ...] = ()
    network: Literal["none", "host", "bridge"] = "bridge"
    ports: tuple[Port, ...] = ()
    pull: Literal["missing", "always", "never"] = "missing"
    read_only_root: bool = False
    init: bool = False

    def __post_init__(self) -> None:
        if self.ports and self.network != "bridge":
            raise ValueError(
                f"ports: with network {self.network} there is nothing to publish; expected bridge"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskSettings:
    """``entry``: ``module:function``, called once on a worker with ``args`` and ``kwargs`` (JSON); what it
    returns is JSON and becomes the task's result. Its module is installed at the workers, or comes with
    ``wheel``, an artifact in the instance's folder, which is sent to them.

    ``scheduler``: else the node's own. ``resources``: of a worker, as Dask counts them. ``retries``: by
    Dask, where a worker dies under it. ``context``: the name of an argument that gets the instance's
    variables ``FARSHORE_*``, its fencing token among them. ``wait_s``: for the scheduler to answer.
    """

    entry: Entry
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    scheduler: Address | None = None
    wheel: Annotated[str, Meta(pattern=r"^[^/\x00][^\x00]*\.whl$", max_length=512)] | None = None
    resources: dict[str, Annotated[float, Meta(gt=0)]] = field(default_factory=dict)
    retries: Annotated[int, Meta(ge=0, le=100)] = 0
    context: Variable | None = None
    wait_s: Annotated[float, Meta(gt=0, le=600)] = 30.0


SETTINGS: Mapping[str, type[Any]] = {
    "process": ProcessSettings,
    "python": PythonSettings,
    "container": ContainerSettings,
    "dask": DaskSettings,
}
"""Driver → its settings."""
