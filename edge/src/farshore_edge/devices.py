"""Named devices of this machine, which a task may have to itself: ``camera0`` is ``/dev/video0``. Pure."""

from collections.abc import Collection, Mapping

from farshore_protocol.names import check_name

VARIABLE = "FARSHORE_DEVICE_"


def variable_of(name: str) -> str:
    """The variable in which a task finds the path of a device: ``FARSHORE_DEVICE_CAMERA0``."""
    return VARIABLE + name.upper().replace("-", "_")


def check_devices(paths: Mapping[str, str]) -> dict[str, str]:
    """Name to path. Raises ValueError, or RemoteProtocolError for what is no name."""
    variables: dict[str, str] = {}
    for name, path in paths.items():
        check_name(name, "device")
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"device {name}: {path!r}, expected an absolute path")
        if (other := variables.setdefault(variable_of(name), name)) != name:
            raise ValueError(
                f"devices {other} and {name}: both are {variable_of(name)} to a task; expected names "
                "that differ in more than - and _"
            )
    return dict(paths)


def device_facts(paths: Mapping[str, str]) -> list[dict[str, str]]:
    """For the fact ``devices``."""
    return [{"name": name, "path": paths[name]} for name in sorted(paths)]


def device_problem(
    wanted: Collection[str],
    held: Collection[str],
    paths: Mapping[str, str],
    absent: Collection[str],
) -> str | None:
    """Why an instance can't have its devices; None where it can. ``held``: what other instances here have,
    since a center that was restored may give one twice; ``absent``: those whose path is not there."""
    for name in wanted:
        if name not in paths:
            named = ", ".join(sorted(paths)) or "none"
            return f"device {name}: this node has no such device, it has {named}"
        if name in absent:
            return f"device {name}: {paths[name]} is not there"
        if name in held:
            return f"device {name}: another task here has it"
    return None
