"""Commands: given to nodes, sent until they are answered, and what came of them."""

from farshore_center.commands.dispatch import Downlink
from farshore_center.commands.request import NewCommand, NodeChoice
from farshore_center.commands.routes import command_routes
from farshore_center.commands.service import CommandService
from farshore_center.commands.settings import CommandSettings
from farshore_center.commands.views import CommandView

__all__ = [
    "CommandService",
    "CommandSettings",
    "CommandView",
    "Downlink",
    "NewCommand",
    "NodeChoice",
    "command_routes",
]
