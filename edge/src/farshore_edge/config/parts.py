"""What a node's configuration is put together from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from farshore_edge.config.health import AlwaysHealthy, Health
from farshore_edge.config.model import ConfigHandler, Store
from farshore_edge.config.registry import Discover, nowhere


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigParts:
    """What differs between a real and a simulated node."""

    store: Store
    handlers: tuple[ConfigHandler, ...]
    discover: Discover = nowhere
    health: Health = field(default_factory=AlwaysHealthy)
    log_level: Callable[[str], None] = lambda _level: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the node is in the tree, and its labels."""

    group: str
    labels: Mapping[str, str]
