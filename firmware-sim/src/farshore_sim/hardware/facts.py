"""The facts of a simulated machine: its profile's, and what sets it apart from its like."""

from __future__ import annotations

from copy import deepcopy
from hashlib import blake2b
from typing import Any

from farshore_sim.hardware.profile import Interface, Profile


def simulated_facts(*, profile: Profile, node: str, seed: int, boot_s: float) -> dict[str, Any]:
    """The tree in the shape of a real host's, the same for the same arguments."""
    facts: dict[str, Any] = deepcopy(dict(profile.facts))
    identity = _digest(seed, "machine")
    boot = _digest(seed, f"boot {boot_s!r}")
    facts |= {
        "hostname": node,
        "machine_id_hash": identity,
        "boot_id": "-".join((boot[:8], boot[8:12], boot[12:16], boot[16:20], boot[20:])),
        "init": "systemd",
        "python": "3.11.9",
        "mem": {"total_bytes": profile.memory_bytes},
        "swap": {"total_bytes": profile.swap_bytes},
        "disks": [
            {
                "device": disk.device,
                "size_bytes": disk.size_bytes,
                "model": disk.model,
                "rotational": disk.rotational,
                "removable": disk.removable,
            }
            for disk in profile.disks
        ],
        "filesystems": [
            {"mount": fs.mount, "type": fs.fstype, "device": fs.device}
            for fs in profile.filesystems
        ],
        "interfaces": [
            _interface(interface, identity, index)
            for index, interface in enumerate(profile.interfaces)
        ],
        "gpus": [
            {
                "vendor": "nvidia",
                "name": gpu.name,
                "memory_bytes": gpu.memory_bytes,
                "driver": "nvidia",
                "driver_version": "570.86.10",
            }
            for gpu in profile.gpus
        ],
        "drivers": {
            "network": sorted({interface.driver for interface in profile.interfaces}),
            "gpu": ["nvidia"] if profile.gpus else [],
        },
    }
    return facts


def _interface(interface: Interface, identity: str, index: int) -> dict[str, Any]:
    raw = bytes.fromhex(identity)
    # Locally administered addresses, and networks that are reserved for private use.
    mac = bytes((0x02, *raw[:4], index))
    facts: dict[str, Any] = {
        "name": interface.name,
        "kind": interface.kind,
        "mac": ":".join(f"{part:02x}" for part in mac),
        "addresses": [f"10.{64 + index}.{raw[4]}.{1 + raw[5] % 254}"],
        "mtu": 1500,
        "driver": interface.driver,
    }
    if interface.speed_mbps is not None:
        facts["speed_mbps"] = interface.speed_mbps
    return facts


def _digest(seed: int, purpose: str) -> str:
    return blake2b(f"{seed} {purpose}".encode(), digest_size=16).hexdigest()
