"""NVIDIA's management library, where the machine has such a GPU.

The binding (the extra `gpu`) costs megabytes, so it is imported only when the driver's device
node exists.
"""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

_log = logging.getLogger(__name__)


class Nvml(Protocol):
    """The part of the module `pynvml` that is used here and for the facts."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int: ...
    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int: ...
    def nvmlDeviceGetName(self, handle: Any) -> str | bytes: ...
    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...


def load_nvml(root: Path = Path("/")) -> Nvml | None:
    """The initialised library, or None where there is no NVIDIA driver or no binding."""
    if not (root / "dev/nvidiactl").exists():
        return None
    try:
        nvml = cast(Nvml, import_module("pynvml"))
    except ImportError:
        _log.info("NVIDIA device found without the gpu extra: no GPU telemetry")
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as exc:
        _log.warning("NVIDIA management library refused to start", extra={"error": str(exc)})
        return None
    return nvml
