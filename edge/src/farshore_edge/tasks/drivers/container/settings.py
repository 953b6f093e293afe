"""How an engine is told of a task's container. Pure."""

from collections.abc import Mapping
from typing import Any

from farshore_protocol.tasks.settings import ContainerSettings, Port

from farshore_edge.tasks.drivers.model import DriverError, Work

WORK_LABEL = "farshore.work"
AGENT_LABEL = "farshore.agent"
OUTPUT_LABEL = "farshore.output"

PERIOD_US = 100_000
SIGNALLED = 128
"""An exit code above it is a signal that ended the first process, as shells have it."""


def create_body(work: Work, agent: str, image: Mapping[str, Any], output_at: int) -> dict[str, Any]:
    """For ``POST /containers/create``. ``image``: as the engine describes it. ``output_at``: where the
    container's own output begins in ``work.output``, in bytes."""
    run: ContainerSettings = work.run
    own_workdir = (image.get("Config") or {}).get("WorkingDir") or ""
    body: dict[str, Any] = {
        "Image": run.image,
        # The image has a PATH and a HOME of its own.
        "Env": [
            f"{name}={text}" for name, text in work.env.items() if name not in work.machine_env
        ],
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
    if work.devices:
        host["Devices"] = [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
            for path in work.devices.values()
        ]
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
