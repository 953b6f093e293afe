"""The environment that a task asks for, with references to the node's configuration resolved, and the
GPUs that it may see. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

from farshore_protocol.config.pointer import ABSENT, find
from farshore_protocol.errors import LocalProtocolError
from farshore_protocol.tasks import Grant
from farshore_protocol.tasks.spec import FromConfig

from farshore_edge.tasks.drivers.model import DriverError

OWN = "FARSHORE_"
"""Names that begin so are not a task's to set."""
_NAME = re.compile(r"[^=\x00]+")
VALUE_BYTES = 96 * 1024
"""Of one value; the kernel takes no more than 128 KiB for name and value."""


def environ(grant: Grant, config: Mapping[str, Any]) -> dict[str, str]:
    """``spec.env`` with its references resolved in ``config``, the node's effective configuration, and
    the variables of its GPUs, which no task can set for itself.

    A string is taken as it is; true, false, numbers, lists and objects as JSON. Null is no value.
    Raises DriverError: ``no_value`` for a reference to nothing without a default, which a change of
    configuration mends, and ``bad_env``, which nothing mends.
    """
    found = {}
    for name, value in grant.spec.env.items():
        if not _NAME.fullmatch(name) or name.startswith(OWN):
            message = f"env.{name}: no such name can be set; expected no '=' and not {OWN}…"
            raise DriverError("bad_env", message, permanent=True)
        text = value if isinstance(value, str) else _resolved(name, value, config)
        if "\0" in text or len(text.encode("utf-8", "surrogatepass")) > VALUE_BYTES:
            message = f"env.{name}: expected no character 0, and {VALUE_BYTES} bytes at most"
            raise DriverError("bad_env", message, permanent=True)
        found[name] = text
    return found | gpu_variables(grant.gpus)


def _resolved(name: str, reference: FromConfig, config: Mapping[str, Any]) -> str:
    try:
        value = find(config, reference.config)
    except LocalProtocolError as exc:
        raise DriverError("bad_env", f"env.{name}: {exc}", permanent=True) from exc
    if value is ABSENT or value is None:
        if reference.default is None:
            message = f"env.{name}: the node's configuration has nothing at {reference.config}"
            raise DriverError("no_value", f"{message}, and there is no default")
        return reference.default
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def gpu_variables(gpus: tuple[int, ...]) -> dict[str, str]:
    """For CUDA and for NVIDIA's container toolkit; without any, none is to be seen."""
    named = ",".join(map(str, gpus))
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": named,
        "NVIDIA_VISIBLE_DEVICES": named or "void",
    }
