"""Records as they are to be sent, read from the database some at a time; those just written are kept.

It is asked only for what the sender has; what is in memory alone is not known here.
"""

from collections.abc import Sequence

from farshore_protocol.stream import RangeSet

from farshore_edge.database import Database, Record

WRITTEN_RECORDS = 64
AHEAD_RECORDS = 128
"""Read at once when one of them is to be sent."""
READ_MAX = 512


class Recent:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._written: dict[tuple[str, int], Record] = {}
        self._ahead: dict[tuple[str, int], Record] = {}

    def remember(self, records: Sequence[Record]) -> None:
        for record in records[-WRITTEN_RECORDS:]:
            self._written[record.stream, record.seq] = record
        while len(self._written) > WRITTEN_RECORDS:
            del self._written[next(iter(self._written))]

    def record(self, stream: str, seq: int) -> Record | None:
        """None if the database has lost it. Raises DatabaseError when it can't be asked."""
        known = self._written.get((stream, seq)) or self._ahead.pop((stream, seq), None)
        if known is not None:
            return known
        found = self._database.records(stream, range(seq, seq + AHEAD_RECORDS))
        if len(self._ahead) > READ_MAX:
            self._ahead.clear()
        self._ahead.update({(stream, n): record for n, record in found.items() if n != seq})
        return found.get(seq)

    def forget(self, stream: str, seqs: RangeSet) -> None:
        for known in (self._written, self._ahead):
            for key in [key for key in known if key[0] == stream and key[1] in seqs]:
                del known[key]

    def clear(self) -> None:
        self._written.clear()
        self._ahead.clear()
