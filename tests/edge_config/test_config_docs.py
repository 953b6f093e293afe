"""The page of the node's configuration: each example is one, each code stands there."""

import re
from pathlib import Path

import msgspec
import pytest
from edge_config.config_bench import tools
from farshore_edge.config.handlers import app, files, packages, services
from farshore_edge.config.handlers.agent import AgentSettings
from farshore_edge.config.model import Site
from farshore_edge.config.registry import Registry, nowhere
from farshore_edge.config.render import render
from farshore_protocol.config.documents import DOCUMENTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "node-configuration.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
SOURCES = ROOT / "edge" / "src" / "farshore_edge" / "config"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: str(text)[2:12])
def test_every_example_is_a_configuration(example: str, tmp_path: Path) -> None:
    made = tools(tmp_path)
    own = [each.make(made) for each in (app, files, packages, services)]
    registry = Registry([*own, AgentSettings({}, {})], nowhere)
    config = msgspec.json.decode(example)
    registry.read(config)
    site = Site(node="pi-17", group="eu", labels={"site": "x"}, facts=lambda: {"gpus": [1]})
    for path, entry in config.get("files", {}).items():
        if "template" in entry:
            assert b"gpu = yes" in render(entry["template"], site, path)


def test_every_document_has_an_example() -> None:
    assert {key for example in EXAMPLES for key in msgspec.json.decode(example)} == set(DOCUMENTS)


def test_every_code_stands_on_the_page() -> None:
    told = set(re.findall(r"`(\w+)`", PAGE.partition("| code |")[2].partition("## Limits")[0]))
    raised = set()
    for path in SOURCES.rglob("*.py"):
        text = path.read_text()
        raised |= set(re.findall(r'ConfigurationError\(\s*"(\w+)"', text))
        raised |= set(re.findall(r'code="(\w+)"', text))
    assert raised - {"lost", "superseded"} <= told
    assert told <= raised | {"rollback_failed"}
