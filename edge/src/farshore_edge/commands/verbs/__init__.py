"""What each verb does. A new one: docs/checklists/new-verb.md."""

from farshore_edge.commands.verbs.model import Context, Handler, Handlers, Outcome

__all__ = ["Context", "Handler", "Handlers", "Outcome"]
