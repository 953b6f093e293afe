"""How a kill has left SQLite's write-ahead log: with a transaction begun, or between two. Pure.

The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import struct

_HEADER = struct.Struct(">4I2I2I")
_FRAME = struct.Struct(">2I2I2I")
_MAGIC = (0x377F0682, 0x377F0683)


def begun_frames(log: bytes) -> int:
    """Pages written after the last commit: what a transaction has begun and not ended."""
    if len(log) < _HEADER.size:
        return 0
    magic, _, page_bytes, _, *salts, _, _ = _HEADER.unpack_from(log)
    if magic not in _MAGIC:
        return 0
    begun, at = 0, _HEADER.size
    while at + _FRAME.size <= len(log):
        _, size_after_commit, *frame_salts, _, _ = _FRAME.unpack_from(log, at)
        if frame_salts != salts:
            break  # of an older round through the file
        at += _FRAME.size + page_bytes
        whole = at <= len(log)
        begun = 0 if size_after_commit and whole else begun + 1
    return begun
