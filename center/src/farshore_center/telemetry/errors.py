"""What can go wrong with the telemetry history.

CenterError
└── TelemetryError
    ├── ChunkError          a stored blob is damaged or not one of ours
    ├── BatchError          a batch that must not be stored: lengths differ, no samples
    ├── ConflictError       what a compaction read is no longer what is stored
    └── TooManyPointsError  a query would read or return more than is allowed
"""

from farshore_center.errors import CenterError


class TelemetryError(CenterError):
    """Root of this room's exceptions."""


class ChunkError(TelemetryError):
    """A stored blob is damaged or was not written by this codec."""


class BatchError(TelemetryError):
    """A batch that must not be stored."""


class ConflictError(TelemetryError):
    """What was read is no longer there; nothing was changed."""


class TooManyPointsError(TelemetryError):
    """A query asks for more than the bound; `points` is what it had found when it stopped."""

    def __init__(self, points: int, limit: int) -> None:
        super().__init__(f"the query covers more than {limit} points")
        self.points = points
        self.limit = limit
