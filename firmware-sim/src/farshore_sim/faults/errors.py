"""What can go wrong in the fault kit itself, as opposed to the faults that it makes.

SimError
└── FaultError          a fault could not be made
    └── RecordingError  a process did something to its files that the record can't tell
"""

from farshore_sim.errors import SimError


class FaultError(SimError):
    """A fault could not be made."""


class RecordingError(FaultError):
    """A process did something to its files that the record can't tell."""
