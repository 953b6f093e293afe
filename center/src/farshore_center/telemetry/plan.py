"""Decides what is put together into one chunk. Pure.

Chunks keep to windows of time: a batch belongs to the window of its first sample. So a backlog of
a week that arrives beside fresh samples becomes chunks of its own days, and a query for the last
hour does not open them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

# This many small chunks of one window are worth rewriting as one: each sample is rewritten a
# few times at most, not once per compaction.
MERGE_AT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stored batch or chunk, as far as planning needs to know it."""

    id: int
    t0_ms: int
    samples: int


def compaction_groups(
    pieces: Sequence[Piece], *, window_ms: int, max_samples: int
) -> list[list[Piece]]:
    """Batches that become one chunk each; every piece is in exactly one group."""
    groups: list[list[Piece]] = []
    for members in _by_window(pieces, window_ms):
        groups.extend(_fill(members, max_samples))
    return groups


def merge_groups(
    pieces: Sequence[Piece], *, window_ms: int, target_samples: int
) -> list[list[Piece]]:
    """Small chunks that are worth one bigger chunk."""
    small = [piece for piece in pieces if piece.samples * 2 < target_samples]
    groups: list[list[Piece]] = []
    for members in _by_window(small, window_ms):
        groups.extend(group for group in _fill(members, target_samples) if len(group) >= MERGE_AT)
    return groups


def _by_window(pieces: Sequence[Piece], window_ms: int) -> list[list[Piece]]:
    windows: dict[int, list[Piece]] = defaultdict(list)
    for piece in sorted(pieces, key=lambda piece: (piece.t0_ms, piece.id)):
        windows[piece.t0_ms // window_ms].append(piece)
    return list(windows.values())


def _fill(pieces: Sequence[Piece], max_samples: int) -> list[list[Piece]]:
    groups: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        if not groups or piece.samples > room:
            groups.append([])
            room = max_samples
        groups[-1].append(piece)
        room -= piece.samples
    return groups
