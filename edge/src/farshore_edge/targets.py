"""Which hosts and networks the agent may be asked to look at. Pure.

A host is allowed by its name, or when all addresses that its name stands for are allowed: a name is
only as good as where it leads.
"""

import fnmatch
import ipaddress
import re
from collections.abc import Iterable, Sequence

EVERYONE = "*"
_NAME = re.compile(r"\A(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?\Z")


def check_target(text: str) -> str:
    """``text`` if it is a name, a ``*.name``, an address, a network or ``*``. Raises ValueError."""
    if text == EVERYONE or _network(text) is not None:
        return text
    looks_like_addresses = "/" in text or ":" in text or re.fullmatch(r"[\d.]+", text)
    if looks_like_addresses or not _NAME.match(text):
        raise ValueError(
            f"{text!r}: expected a name, *.example.org, a network like 10.0.0.0/8, or *"
        )
    return text.lower()


class Targets:
    """``allowed``: as ``check_target`` takes them."""

    def __init__(self, allowed: Iterable[str]) -> None:
        words = list(allowed)
        self._everyone = EVERYONE in words
        networks = [(word, _network(word)) for word in words]
        self._networks = [network for _, network in networks if network is not None]
        self._names = [word.lower() for word, network in networks if network is None]

    def allows_name(self, host: str) -> bool:
        """Whether the name alone decides, whatever it stands for."""
        host = host.lower().rstrip(".")
        return self._everyone or any(fnmatch.fnmatchcase(host, name) for name in self._names)

    def allows(self, host: str, addresses: Sequence[str]) -> bool:
        """``addresses``: all that ``host`` stands for."""
        return self.allows_name(host) or (bool(addresses) and all(map(self._inside, addresses)))

    def _inside(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
