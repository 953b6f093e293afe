"""Configuration: what a desired one is, how layers become one, and what a node says of it."""
