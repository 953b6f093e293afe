"""Whether the agent runs on bare metal, in a virtual machine or in a container, and in which."""

from __future__ import annotations

from pathlib import Path

from farshore_edge.facts.tree import known, read_file, read_text

_HYPERVISORS = (
    ("qemu", "kvm"),
    ("kvm", "kvm"),
    ("amazon ec2", "amazon"),
    ("google compute engine", "google"),
    ("vmware", "vmware"),
    ("virtualbox", "virtualbox"),
    ("innotek", "virtualbox"),
    ("microsoft corporation virtual machine", "hyperv"),
    ("xen", "xen"),
    ("bochs", "bochs"),
    ("parallels", "parallels"),
    ("openstack", "openstack"),
    ("bhyve", "bhyve"),
)
"""What the firmware's vendor and product say, in lower case, and whose work that is."""

_CGROUP_MARKS = (
    ("kubepods", "kubernetes"),
    ("docker", "docker"),
    ("libpod", "podman"),
    ("lxc", "lxc"),
    ("machine.slice", "nspawn"),
)


def virtualisation_facts(root: Path) -> dict[str, object]:
    """`kind` is the innermost: physical, vm or container."""
    container = _container(root)
    hypervisor = _hypervisor(root)
    kind = "container" if container else "vm" if hypervisor else "physical"
    return known(kind=kind, container=container, hypervisor=hypervisor)


def _container(root: Path) -> str | None:
    if (root / "run/.containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists():
        return "docker"
    if named := read_text(root / "run/systemd/container"):
        return named
    for variable in read_file(root / "proc/1/environ").split("\0"):
        if variable.startswith("container=") and len(variable) > len("container="):
            return read_name(variable.partition("=")[2])
    if (root / "proc/vz").exists() and not (root / "proc/bc").exists():
        return "openvz"
    groups = read_file(root / "proc/1/cgroup")
    return next((name for mark, name in _CGROUP_MARKS if mark in groups), None)


def read_name(value: str) -> str:
    """An environment's value as a name: it is foreign text, and only its kind matters."""
    return "".join(char for char in value if char.isalnum() or char in "-_.")[:32] or "unknown"


def _hypervisor(root: Path) -> str | None:
    if (root / "proc/device-tree/hypervisor").is_dir():
        return "kvm"
    if (named := read_text(root / "sys/hypervisor/type")) is not None:
        return named
    if "microsoft" in read_file(root / "proc/sys/kernel/osrelease").lower():
        return "wsl"
    dmi = root / "sys/class/dmi/id"
    # Read together, since Microsoft builds both tablets and virtual machines.
    sold_as = f"{read_file(dmi / 'sys_vendor')} {read_file(dmi / 'product_name')}"
    sold_as = " ".join(sold_as.split()).lower()
    for mark, name in _HYPERVISORS:
        if mark in sold_as:
            return name
    for line in read_file(root / "proc/cpuinfo").splitlines():
        if line.startswith("flags"):
            return "unknown" if "hypervisor" in line.split() else None
    return None
