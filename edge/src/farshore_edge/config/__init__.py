"""The node's configuration: transactions, handlers, drift, local override."""

from farshore_edge.config.service import ConfigParts, ConfigService, Place

__all__ = ["ConfigParts", "ConfigService", "Place"]
