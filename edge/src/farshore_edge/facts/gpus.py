"""Graphics and compute processors, and their drivers.

NVIDIA's are asked for name and memory where its library is there; any other is what the PCI bus
tells. Display chips of servers' management boards and of hypervisors are no GPUs.
"""

from __future__ import annotations

from pathlib import Path

from farshore_edge.facts.tree import clean, entries, known, link_name, read_text
from farshore_edge.telemetry.collectors.nvml import Nvml, load_nvml

GPUS_MAX = 64
_DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")
_VENDORS = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}


def gpu_facts(root: Path) -> list[dict[str, object]]:
    found = _pci_gpus(root)
    nvml = load_nvml(root)
    if nvml is not None and (named := _nvml_gpus(nvml)):
        found = named + [gpu for gpu in found if gpu["vendor"] != "nvidia"]
    return found[:GPUS_MAX]


def driver_facts(root: Path) -> dict[str, object]:
    """The kernel drivers behind the GPUs and the network interfaces."""
    interfaces = root / "sys/class/net"
    network = {link_name(interfaces / name / "device/driver") for name in entries(interfaces)}
    gpu = {str(gpu["driver"]) for gpu in _pci_gpus(root) if "driver" in gpu}
    return {"network": sorted(name for name in network if name), "gpu": sorted(gpu)}


def _pci_gpus(root: Path) -> list[dict[str, object]]:
    gpus = []
    bus = root / "sys/bus/pci/devices"
    for slot in entries(bus):
        vendor = _VENDORS.get(read_text(bus / slot / "vendor") or "")
        device_class = read_text(bus / slot / "class") or ""
        if vendor is not None and device_class.startswith(_DISPLAY_CLASSES):
            device = read_text(bus / slot / "device")
            driver = link_name(bus / slot / "driver")
            gpus.append(known(vendor=vendor, pci_device=device, driver=driver))
    return gpus


def _nvml_gpus(nvml: Nvml) -> list[dict[str, object]]:
    gpus: list[dict[str, object]] = []
    try:
        version = _text(nvml.nvmlSystemGetDriverVersion())
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            gpus.append(
                known(
                    vendor="nvidia",
                    name=_text(nvml.nvmlDeviceGetName(handle)),
                    memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                    driver="nvidia",
                    driver_version=version,
                )
            )
    except nvml.NVMLError:
        return []
    return gpus


def _text(value: str | bytes) -> str | None:
    return clean(value.decode(errors="replace") if isinstance(value, bytes) else value)
