"""Commands: the messages, the lifecycle tables, the catalogue of verbs."""

from farshore_protocol.commands.catalogue import VERBS, Verb
from farshore_protocol.commands.lifecycle import NODE_COMMAND, TARGET, reachable
from farshore_protocol.commands.messages import (
    ByHand,
    Command,
    CommandError,
    CommandReport,
    Output,
)

__all__ = [
    "NODE_COMMAND",
    "TARGET",
    "VERBS",
    "ByHand",
    "Command",
    "CommandError",
    "CommandReport",
    "Output",
    "Verb",
    "reachable",
]
