"""What ingest keeps in memory of each node: the books of its streams and the clocks of its boots.

The database is the truth and this is a copy: loaded when a node is first heard of, thrown away
when a commit fails. It decides nothing.
"""

import asyncio
from collections.abc import Iterable

from farshore_protocol.stream import Book

from farshore_center.db.database import Database
from farshore_center.ingest import store
from farshore_center.ingest.engine import Key


class Shelf:
    """``books`` holds every book of each loaded node; ``decide`` adds to it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loading = asyncio.Lock()
        self._loaded: set[str] = set()
        self._clocks: dict[str, dict[str, int]] = {}
        self._unsaved: set[tuple[str, str]] = set()
        self._current: dict[tuple[str, str], str] = {}
        self._holey: set[Key] = set()
        self.books: dict[Key, Book] = {}

    async def load(self, nodes: Iterable[str]) -> None:
        """Afterwards these nodes are here. Raises DatabaseError."""
        # One at a time: of two loads of a node, the later one would put an older snapshot over
        # books that have gone on meanwhile, and a record would be accepted twice.
        async with self._loading:
            wanted = [node for node in nodes if node not in self._loaded]
            if not wanted:
                return
            found, clocks = await self._database.read(
                lambda connection: (
                    store.load_books(connection, wanted),
                    store.load_boot_clocks(connection, wanted),
                )
            )
            self.books.update(found)
            for node, boot, base_ms in clocks:
                self._clocks.setdefault(node, {}).setdefault(boot, base_ms)
            for key in found:
                node, stream, epoch = key
                self._current[node, stream] = epoch  # they come with the newest last
                self.note_holes(key)
            self._loaded.update(wanted)

    def forget(self, nodes: set[str]) -> None:
        """Their books may say more than was committed."""
        self._loaded -= nodes
        for key in [key for key in self.books if key[0] in nodes]:
            del self.books[key]
            self._holey.discard(key)

    # Clocks

    def base_ms(self, node: str, boot: str) -> int | None:
        """The center's time when this boot's monotonic clock stood at zero, where it is known."""
        return self._clocks.get(node, {}).get(boot)

    def place_boot(self, node: str, boot: str, base_ms: int) -> None:
        """Of a node's boots the newest ones stay; a node that restarts for years must not grow."""
        clocks = self._clocks.setdefault(node, {})
        clocks[boot] = base_ms
        self._unsaved.add((node, boot))
        while len(clocks) > store.BOOTS_KEPT:
            oldest = next(iter(clocks))
            del clocks[oldest]
            self._unsaved.discard((node, oldest))

    def saved(self, node: str, boot: str) -> None:
        """What ``place_boot`` was told of it last is in the database."""
        self._unsaved.discard((node, boot))

    def is_saved(self, node: str, boot: str) -> bool:
        return (node, boot) not in self._unsaved

    # Holes

    def epoch_is(self, node: str, stream: str, epoch: str) -> None:
        """The node's own word about which epoch of a stream goes on."""
        self._current[node, stream] = epoch

    def note_holes(self, key: Key) -> None:
        book = self.books[key]
        # One range from 1 to the head is the common case, and cheap to see.
        if book.accepted.pairs() != [(1, book.head)] and book.holes():
            self._holey.add(key)
        else:
            self._holey.discard(key)

    def with_holes(self) -> list[Key]:
        """Books with holes that their node can still fill: a past epoch's disk is gone."""
        return sorted(
            key for key in self._holey if self._current.get((key[0], key[1]), key[2]) == key[2]
        )
