"""Tasks: work that is placed on nodes, and what the center decides about it."""
