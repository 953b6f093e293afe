"""The operating system, the kernel, and who this machine is to itself."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from farshore_edge.facts.tree import clean, known, read_file, read_text
from farshore_edge.telemetry.collectors.mounts import parse_mounts

_MACHINE_ID_KEY = b"farshore machine_id fact"


def os_facts(root: Path) -> dict[str, object]:
    fields: dict[str, str] = {}
    for candidate in ("etc/os-release", "usr/lib/os-release"):
        if text := read_file(root / candidate):
            fields = dict(_unquoted(line) for line in text.splitlines() if "=" in line)
            break
    return known(
        id=clean(fields.get("ID", "")),
        version=clean(fields.get("VERSION_ID", "")),
        name=clean(fields.get("PRETTY_NAME", "")),
    )


def _unquoted(line: str) -> tuple[str, str]:
    key, _, value = line.strip().partition("=")
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return key, value


def kernel_facts(root: Path) -> dict[str, object]:
    loaded = len(read_file(root / "proc/modules").splitlines())
    return known(
        name=read_text(root / "proc/sys/kernel/ostype"),
        release=read_text(root / "proc/sys/kernel/osrelease"),
        modules_loaded=loaded or None,
    )


def architecture(root: Path) -> str:
    # The kernel tells it in a file since Linux 6.1 only.
    return read_text(root / "proc/sys/kernel/arch") or os.uname().machine


def hostname(root: Path) -> str | None:
    return read_text(root / "proc/sys/kernel/hostname")


def machine_id_hash(root: Path) -> str | None:
    """Tells machines apart without giving the id away, which other software treats as secret."""
    machine_id = read_text(root / "etc/machine-id") or read_text(root / "var/lib/dbus/machine-id")
    if machine_id is None or machine_id == "uninitialized":
        return None
    return hashlib.blake2b(machine_id.encode(), key=_MACHINE_ID_KEY, digest_size=16).hexdigest()


def boot_id(root: Path) -> str | None:
    return read_text(root / "proc/sys/kernel/random/boot_id")


def timezone(root: Path) -> str | None:
    try:
        target = os.readlink(root / "etc/localtime")
    except OSError:
        return read_text(root / "etc/timezone")
    return clean(target.partition("zoneinfo/")[2])


def init_system(root: Path) -> str | None:
    if (root / "run/systemd/system").is_dir():
        return "systemd"
    return read_text(root / "proc/1/comm")


def cgroup_version(root: Path) -> str | None:
    """v1, v2, or hybrid: both are mounted, and the controllers are v1's."""
    types = {mount.fstype for mount in parse_mounts(read_file(root / "proc/self/mounts"))}
    if "cgroup" in types:
        return "hybrid" if "cgroup2" in types else "v1"
    return "v2" if "cgroup2" in types else None


def python_version(_root: Path) -> str:
    return ".".join(map(str, sys.version_info[:3]))


def board_facts(root: Path) -> dict[str, object]:
    """What the machine is sold as. Serial numbers and asset tags are left alone."""
    dmi = root / "sys/class/dmi/id"
    tree = root / "proc/device-tree"
    return known(
        vendor=read_text(dmi / "sys_vendor"),
        model=read_text(dmi / "product_name") or read_text(tree / "model"),
    )
