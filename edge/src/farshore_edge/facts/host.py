"""The tree of facts about one machine, ready for JSON.

It holds no secret and no serial number, and nothing that changes from one minute to the next:
its digest tells the center whether the node has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from farshore_edge.facts import gpus, network, processor, storage, system, virtualisation

_log = logging.getLogger(__name__)

HOST_ROOT = Path("/")

SECTIONS: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("os", system.os_facts),
    ("kernel", system.kernel_facts),
    ("arch", system.architecture),
    ("hostname", system.hostname),
    ("machine_id_hash", system.machine_id_hash),
    ("boot_id", system.boot_id),
    ("timezone", system.timezone),
    ("init", system.init_system),
    ("cgroup", system.cgroup_version),
    ("python", system.python_version),
    ("board", system.board_facts),
    ("cpu", processor.cpu_facts),
    ("mem", storage.memory_facts),
    ("swap", storage.swap_facts),
    ("disks", storage.disk_facts),
    ("filesystems", storage.filesystem_facts),
    ("virtualisation", virtualisation.virtualisation_facts),
    ("gpus", gpus.gpu_facts),
    ("drivers", gpus.driver_facts),
)


def host_facts(
    root: Path = HOST_ROOT, *, addresses: network.Addresses | None = None
) -> dict[str, Any]:
    """The facts that the files below `root` tell. What can't be found out is absent.

    IP addresses come from the kernel and not from a file: they are the running machine's when
    `root` is its own, and what `addresses` says otherwise.
    """
    if addresses is None:
        addresses = network.host_addresses if root == HOST_ROOT else network.no_addresses
    chosen = addresses
    sections = (*SECTIONS, ("interfaces", lambda tree: network.interface_facts(tree, chosen)))
    facts: dict[str, Any] = {}
    for name, read in sections:
        try:
            value = read(root)
        except Exception as exc:  # a surprise in one file must not cost the node all its facts
            _log.warning("facts could not be read", extra={"section": name, "error": str(exc)})
            continue
        if value is not None and value != {}:
            facts[name] = value
    return facts
