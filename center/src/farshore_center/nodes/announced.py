"""The verbs that nodes have announced at their births, as the commands' room asks for them."""

from farshore_center.nodes.registry import NodeEntry, Registry


class AnnouncedVerbs:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def verbs_of(self, node: str) -> frozenset[str] | None:
        """None: it has announced nothing, or is not known."""
        entry = self._registry.get(node)
        return None if entry is None else _verbs(entry)

    def everywhere(self) -> frozenset[str]:
        return frozenset().union(*(_verbs(entry) or () for entry in self._registry.all()))

    def counts(self) -> dict[str, int]:
        """Verb → how many nodes have announced it."""
        found: dict[str, int] = {}
        for entry in self._registry.all():
            for verb in _verbs(entry) or ():
                found[verb] = found.get(verb, 0) + 1
        return found

    def digest_of(self, node: str) -> str | None:
        entry = self._registry.get(node)
        return None if entry is None else entry.capabilities.get("verbs_digest")


def _verbs(entry: NodeEntry) -> frozenset[str] | None:
    return frozenset(entry.capabilities.get("verbs") or ()) or None
