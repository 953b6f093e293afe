"""What the protocol must not bring along: it runs on nodes with little memory."""

import subprocess
import sys

HEAVY = [
    "fastapi",
    "sqlmodel",
    "sqlalchemy",
    "pydantic",
    "amqtt",
    "numpy",
    "rich",
    "typer",
    "httpx",
    "structlog",
    "psutil",
]
REPORT = """
import importlib, pkgutil, sys
import farshore_protocol
for module in pkgutil.walk_packages(farshore_protocol.__path__, "farshore_protocol."):
    importlib.import_module(module.name)
assert "farshore_protocol.link.mqtt" in sys.modules
sys.stdout.write(" ".join(sys.modules))
"""


def test_the_whole_protocol_imports_nothing_heavy_and_neither_side() -> None:
    run = subprocess.run(
        [sys.executable, "-c", REPORT], check=True, capture_output=True, text=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not loaded & {*HEAVY, "farshore_edge", "farshore_center", "farshore_sim"}
