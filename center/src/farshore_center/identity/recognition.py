"""Whether a node has seen more of this center than its database knows. Pure.

Every start of a center is an epoch, written before anything is acknowledged in it; every group of
records advances its generation in the transaction that stores them, and an acknowledgement says the
generation. So a database that was not restored knows every mark that a node can have, however
often its center was killed; and one that was restored does not know what came after the backup,
however far it has gone since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from farshore_protocol.messages import CenterMark


class Relation(Enum):
    """What a node's mark says about this database."""

    NONE = "none"
    """It has no mark: it is new, or its agent is older than marks."""
    STRANGER = "stranger"
    """Its mark is of another database: it belonged to another center."""
    KNOWN = "known"
    """This database knows what the node has seen."""
    AHEAD = "ahead"
    """The node has seen what this database does not know: it was restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A start, and how far it came as this database knows; ``known``: by itself, not by nodes."""

    number: int
    generation: int
    known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a database knows of itself. ``number``: of the present start; ``restored_number``: of
    the one in which the latest restore was seen, 0 for none."""

    database: str
    number: int
    restored_number: int
    epochs: Mapping[str, Epoch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``restored``: it tells of a restore that was not seen before."""

    relation: Relation
    restored: bool = False


def judge(history: History, mark: CenterMark | None) -> Verdict:
    if mark is None:
        return Verdict(relation=Relation.NONE)
    database, name, generation = mark
    if database != history.database:
        return Verdict(relation=Relation.STRANGER)
    epoch = history.epochs.get(name)
    if epoch is None:
        # A start that was lost. Of the restore that was seen in this start, or of another one?
        news = history.restored_number != history.number
        return Verdict(relation=Relation.AHEAD, restored=news)
    if not epoch.known:
        return Verdict(relation=Relation.AHEAD)
    if generation <= epoch.generation:
        return Verdict(relation=Relation.KNOWN)
    # A start before the latest restore was cut by it, or by one before.
    return Verdict(relation=Relation.AHEAD, restored=epoch.number >= history.restored_number)
