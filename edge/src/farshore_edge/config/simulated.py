"""The configuration's parts of a simulated node: all in memory."""

from farshore_edge.config.handlers.memory import memory_handlers
from farshore_edge.config.parts import ConfigParts
from farshore_edge.config.store import MemoryStore


def simulated_config(store: MemoryStore | None = None) -> ConfigParts:
    """``store``: of an earlier life of the node."""
    return ConfigParts(store=store or MemoryStore(), handlers=tuple(memory_handlers()))
