"""What brings each document about. A new one: docs/checklists/new-config-handler.md."""
