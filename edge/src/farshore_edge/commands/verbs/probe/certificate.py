"""Until when a certificate is good: the one field of X.509 that a probe shows. Pure.

The standard library tells it only of a certificate that was verified; this reads it of any (RFC 5280).
"""

from datetime import UTC, datetime


class CertificateError(Exception):
    """Bytes that are no certificate."""


def not_after(der: bytes) -> datetime:
    """Raises CertificateError."""
    try:
        fields = _children(_children(der)[0][1])  # Certificate, its tbsCertificate
        if fields[0][0] == 0xA0:  # the version may be left out
            fields = fields[1:]
        validity = fields[3][1]  # after serial number, algorithm and issuer
        tag, value = _items(validity)[1]
        return _time(tag, value.decode("ascii"))
    except (IndexError, ValueError) as exc:
        raise CertificateError(f"no certificate: {exc}") from exc


def _children(der: bytes) -> list[tuple[int, bytes]]:
    return _items(_items(der)[0][1]) if der[0] == 0x30 else _items(der)


def _items(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of what stands one after the other."""
    found, at = [], 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        if at + length > len(der):
            raise ValueError("a field that is longer than what holds it")
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _time(tag: int, text: str) -> datetime:
    if tag == 0x17:  # UTCTime: two digits of the year
        year = int(text[:2])
        text = f"{1900 + year if year >= 50 else 2000 + year}{text[2:]}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
