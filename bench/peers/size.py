"""How much is measured."""

from dataclasses import dataclass

NODES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """``calls``: in warm processes; ``shells``: from the shell and back; ``plays``: of Ansible, which
    takes longest. ``settle_s``: after all are there, before the first."""

    nodes: int
    calls: int = 20
    shells: int = 10
    plays: int = 5
    settle_s: float = 10.0
    warm_up: int = 3

    @classmethod
    def of(cls, nodes: int, *, quick: bool) -> "Size":
        if quick:
            return cls(nodes=nodes, calls=5, shells=3, plays=1, settle_s=3.0, warm_up=1)
        return cls(nodes=nodes)

    def names(self) -> list[str]:
        return [f"node-{number:02}" for number in range(1, self.nodes + 1)]
