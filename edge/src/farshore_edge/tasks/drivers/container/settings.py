"""What a task says of its container, and how an engine is told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from farshore_protocol.config.documents import Argv
from farshore_protocol.tasks.spec import Short
from msgspec import Meta

from farshore_edge.tasks.drivers.model import DriverError, Work

WORK_LABEL = "farshore.work"
AGENT_LABEL = "farshore.agent"
OUTPUT_LABEL = "farshore.output"

PERIOD_US = 100_000
SIGNALLED = 128
"""An exit code above it is a signal that ended the first process, as shells have it."""

AbsolutePath = Annotated[str, Meta(pattern=r"^/[^\x00]*$", max_length=1024)]
PortNumber = Annotated[int, Meta(ge=1, le=65_535)]


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


def create_body(work: Work, agent: str, image: Mapping[str, Any], output_at: int) -> dict[str, Any]:
    """For ``POST /containers/create``. ``image``: as the engine describes it. ``output_at``: where the
    container's own output begins in ``work.output``, in bytes."""
    run: ContainerSettings = work.run
    own_workdir = (image.get("Config") or {}).get("WorkingDir") or ""
    body: dict[str, Any] = {
        "Image": run.image,
        "Env": [f"{name}={value}" for name, value in work.env.items()],
        "WorkingDir": run.workdir
        or (own_workdir if own_workdir != "/" else "")
        or str(work.folder),
        "Labels": {WORK_LABEL: work.id, AGENT_LABEL: agent, OUTPUT_LABEL: str(output_at)},
        "HostConfig": _host(work, run),
    }
    if run.command is not None:
        body["Cmd"] = list(run.command)
    if run.entrypoint is not None:
        body["Entrypoint"] = list(run.entrypoint)
    if run.user is not None:
        body["User"] = run.user
    if run.ports:
        body["ExposedPorts"] = {f"{port.container}/{port.protocol}": {} for port in run.ports}
    return body


def _host(work: Work, run: ContainerSettings) -> dict[str, Any]:
    host: dict[str, Any] = {
        "NetworkMode": run.network,
        "ReadonlyRootfs": run.read_only_root,
        "Init": run.init,
        "Mounts": [
            {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}
            for source, target, read_only in (
                (str(work.folder), str(work.folder), False),
                *((each.source, each.target, each.read_only) for each in run.mounts),
            )
        ],
        "PortBindings": _bindings(run.ports),
    }
    if work.limits.cpu_cores is not None:
        host["CpuPeriod"] = PERIOD_US
        host["CpuQuota"] = max(round(work.limits.cpu_cores * PERIOD_US), 1000)
    if work.limits.memory_bytes is not None:
        host["Memory"] = host["MemorySwap"] = work.limits.memory_bytes
    if work.limits.pids is not None:
        host["PidsLimit"] = work.limits.pids
    if work.cpus:
        host["CpusetCpus"] = ",".join(map(str, work.cpus))
    if work.gpus:
        host["DeviceRequests"] = [
            {
                "Driver": "nvidia",
                "DeviceIDs": list(map(str, work.gpus)),
                "Capabilities": [["gpu"]],
            }
        ]
    return host


def _bindings(ports: tuple[Port, ...]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        binding = {"HostIp": port.address, "HostPort": str(port.host)}
        found.setdefault(f"{port.container}/{port.protocol}", []).append(binding)
    return found


def tagged(image: str) -> str:
    """An engine that is asked for an image without a tag may fetch all of its tags."""
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"


_GONE = (
    "manifest unknown",
    "not found",
    "denied",
    "unauthorized",
    "invalid reference",
    "name unknown",
)


def pull_failed(image: str, why: str) -> DriverError:
    """Trying again helps where the registry was not reached, and not where it has said no."""
    permanent = any(word in why.lower() for word in _GONE)
    return DriverError("no_image", f"{image}: can't be fetched: {why}", permanent=permanent)


_NO_PROGRAM = (
    "executable file not found",
    "no such file or directory",
    "was not found",
    "permission denied",
)


def start_failed(image: str, why: str) -> DriverError:
    """From the words of Docker, Podman and runc: there are no codes for it."""
    if any(word in why.lower() for word in _NO_PROGRAM):
        return DriverError("no_program", f"{image}: {why}", permanent=True)
    return DriverError("not_started", f"{image}: {why}")
