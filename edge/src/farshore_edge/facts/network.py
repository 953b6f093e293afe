"""The network interfaces that telemetry counts, with what identifies and limits them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from farshore_edge.facts.tree import entries, known, link_name, read_int, read_text
from farshore_edge.telemetry.collectors.network import is_reported

INTERFACES_MAX = 64
ADDRESSES_MAX = 16

Addresses = Callable[[], Mapping[str, list[str]]]


def no_addresses() -> Mapping[str, list[str]]:
    return {}


def host_addresses() -> dict[str, list[str]]:
    """The IP addresses of each interface of this machine; the kernel has no file for them."""
    import socket

    import psutil

    wanted = (socket.AF_INET, socket.AF_INET6)
    return {
        interface: sorted(a.address.partition("%")[0] for a in found if a.family in wanted)
        for interface, found in psutil.net_if_addrs().items()
    }


def interface_facts(root: Path, addresses: Addresses) -> list[dict[str, object]]:
    try:
        by_interface = addresses()
    except OSError:
        by_interface = {}
    interfaces = []
    for name in entries(root / "sys/class/net"):
        folder = root / "sys/class/net" / name
        if not is_reported(name) or not folder.is_dir():
            continue
        # A link that is down refuses to tell its speed, a virtual one says -1.
        speed = read_int(folder / "speed")
        interfaces.append(
            known(
                name=name,
                kind=_kind(folder, name),
                mac=read_text(folder / "address"),
                addresses=by_interface.get(name, [])[:ADDRESSES_MAX],
                mtu=read_int(folder / "mtu"),
                speed_mbps=speed if speed is not None and speed > 0 else None,
                driver=link_name(folder / "device/driver"),
            )
        )
    return interfaces[:INTERFACES_MAX]


def _kind(folder: Path, name: str) -> str:
    if os.path.exists(folder / "wireless") or os.path.exists(folder / "phy80211"):
        return "wifi"
    if name.startswith("ww"):
        return "cellular"
    if os.path.exists(folder / "bridge"):
        return "bridge"
    if os.path.exists(folder / "bonding"):
        return "bond"
    return "ethernet" if os.path.exists(folder / "device") else "virtual"
