"""What can go wrong in the simulator and the demonstration.

SimError
└── DemoError   something that the demonstration told did not come true
"""


class SimError(Exception):
    """Root of everything that the simulator raises on purpose."""


class DemoError(SimError):
    """Something that the demonstration told did not come true."""
