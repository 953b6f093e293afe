"""What nodes have said of losses, as it stands among the center's events. Pure."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from farshore_edge.outbox.rewind import REWOUND
from farshore_protocol.stream import RangeSet

from farshore_sim.world.witness import StreamKey


@dataclass(slots=True)
class LossWords:
    """``doubtful``: what nodes gave up because they could not tell it from what the center has.
    ``again``: the key and seq under which the loss of another seq, of an epoch before, is said again."""

    doubtful: dict[StreamKey, RangeSet] = field(default_factory=dict)
    again: dict[tuple[StreamKey, int], list[tuple[StreamKey, int]]] = field(default_factory=dict)


def loss_words(rows: Iterable[tuple[str, bytes]]) -> LossWords:
    """``rows``: the node and the data of each ``stream.loss``."""
    found = LossWords()
    for node, data in rows:
        word = json.loads(data)
        key = (node, word["stream"], word["epoch"])
        if word["reason"] == REWOUND:
            found.doubtful.setdefault(key, RangeSet()).add(*word["range"])
        if (was := word.get("was")) is not None:
            before = (node, word["stream"], was["epoch"])
            for old, new in zip(_seqs(was["range"]), _seqs(word["range"]), strict=True):
                found.again.setdefault((before, old), []).append((key, new))
    return found


def _seqs(part: Sequence[int]) -> range:
    return range(part[0], part[1] + 1)
