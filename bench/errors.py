"""BenchError: something could not be measured. A promise that does not hold is no error."""


class BenchError(Exception):
    """The root, and so far the only one."""
