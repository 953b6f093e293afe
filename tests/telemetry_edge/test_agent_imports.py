"""What the agent's eyes bring along when they are imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = ("farshore_edge.telemetry.collectors.host", "farshore_edge.facts.host")
FOREIGN = {
    "fastapi",
    "sqlmodel",
    "pydantic",
    "amqtt",
    "numpy",
    "rich",
    "typer",
    "httpx",
    "structlog",
}
NEEDLESS = {"platform", "importlib.metadata", "pynvml", "farshore_center", "farshore_sim"}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_heavy_comes_along(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & (FOREIGN | NEEDLESS)
    assert "farshore_edge.telemetry.collectors.catalogue" not in loaded, "costs memory for nothing"
