"""Words for people that the center and its command line have in common. Pure."""


def counted(number: int, noun: str) -> str:
    """``1 node``, ``1,234 nodes``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
