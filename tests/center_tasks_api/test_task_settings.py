"""What the center checks of a driver's settings is what the driver at the node takes."""

import importlib
from dataclasses import fields
from typing import Any

import pytest
from farshore_protocol.commands.schema import message_schema
from farshore_protocol.tasks.settings import SETTINGS

AT_THE_NODE = {
    "process": ("farshore_edge.tasks.drivers.process", "ProcessSettings"),
    "python": ("farshore_edge.tasks.drivers.python.settings", "PythonSettings"),
    "container": ("farshore_edge.tasks.drivers.container.settings", "ContainerSettings"),
    "dask": ("farshore_edge.tasks.drivers.dask.settings", "DaskSettings"),
}


def bare(schema: Any) -> Any:
    """Without words for people."""
    if isinstance(schema, list):
        return [bare(each) for each in schema]
    if isinstance(schema, dict):
        return {key: bare(value) for key, value in schema.items() if key != "description"}
    return schema


@pytest.mark.parametrize("name", sorted(AT_THE_NODE))
def test_center_and_node_mean_the_same_settings(name: str) -> None:
    module, kind = AT_THE_NODE[name]
    try:
        taken: type[Any] = getattr(importlib.import_module(module), kind)
    except ModuleNotFoundError:
        pytest.skip(f"this agent has no driver {name}")
    assert bare(message_schema(taken)) == bare(message_schema(SETTINGS[name]))
    assert [f.name for f in fields(taken)] == [f.name for f in fields(SETTINGS[name])]


def test_every_driver_whose_settings_are_known_is_compared() -> None:
    assert AT_THE_NODE.keys() == SETTINGS.keys()
