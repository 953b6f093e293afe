"""What each verb does. A new one: docs/checklists/new-verb.md."""

from farshore_edge.commands.verbs.model import Context, Handler, Outcome

__all__ = ["Context", "Handler", "Outcome"]
