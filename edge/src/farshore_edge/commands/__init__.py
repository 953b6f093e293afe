"""Commands at the node: policy, ledger, verbs."""

from farshore_edge.commands.policy import Policy
from farshore_edge.commands.service import CommandService

__all__ = ["CommandService", "Policy"]
