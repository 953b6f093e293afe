"""The registry of nodes and their presence."""
