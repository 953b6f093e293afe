"""The node's configuration: transactions, handlers, drift, local override."""

from farshore_edge.config.parts import ConfigParts, Place
from farshore_edge.config.service import ConfigService

__all__ = ["ConfigParts", "ConfigService", "Place"]
