"""The tree of groups, and overlays: saved selectors that cut across it."""
