"""The root of every exception that the center raises on purpose.

Each room derives its own from it; nothing else belongs here.
"""


class CenterError(Exception):
    """Something the center knows how to say; its text is meant for a person."""
