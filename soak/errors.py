"""SoakError: a soak could not be run. A promise that does not hold is a ``Violation``, no error."""


class SoakError(Exception):
    """The root, and so far the only one."""
