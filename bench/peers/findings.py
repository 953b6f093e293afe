"""What was found of each side, and what it says about the promises. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.model import Figure, Outcome, Runs, Verdict

CALL_TIMES = 10.0
SHELL_TIMES = 3.0
ANSIBLE_TIMES = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Of one side. ``calls_s``: between warm processes; ``shells_s``: from the shell and back;
    ``node_mib``: memory (PSS) of each node's processes, ``center_mib`` of the center's or master's.
    Empty: not measured, or there is no such thing."""

    calls_s: tuple[float, ...] = ()
    shells_s: tuple[float, ...]
    node_mib: tuple[float, ...] = ()
    center_mib: float | None = None


def summarise(
    nodes: int, found: Mapping[str, Findings], loads: Sequence[tuple[str, Sequence[float]]] = ()
) -> Outcome:
    """``found`` by side: ``farshore``, and of ``salt`` and ``ansible`` those that were measured.

    ``loads``: the load averages of the machine at the end of each side.
    """
    own = found["farshore"]
    verdicts = []
    figures = []
    if "salt" in found:
        salt = found["salt"]
        verdicts += [
            _times(
                "peers.call",
                f"exec uptime on {nodes} nodes, call to last result: one REST call, "
                "Salt's LocalClient",
                CALL_TIMES,
                ("farshore", own.calls_s),
                ("salt", salt.calls_s),
            ),
            _times(
                "peers.shell",
                "the same from the shell and back: farshore run, salt",
                SHELL_TIMES,
                ("farshore", own.shells_s),
                ("salt", salt.shells_s),
            ),
        ]
    if "ansible" in found:
        ansible = found["ansible"]
        verdicts.append(
            _times(
                "peers.ansible",
                f"the same: one REST call, ansible -m command -f {nodes}",
                ANSIBLE_TIMES,
                ("farshore", own.calls_s),
                ("ansible", ansible.shells_s),
            )
        )
        ratio = Runs.of(ansible.shells_s).median / Runs.of(own.shells_s).median
        figures.append(
            Figure(
                name="peers.ansible_shell",
                what="ansible of farshore run, shell against shell",
                unit="×",
                runs=Runs.of([ratio]),
            )
        )
    for name, side in found.items():
        figures += _memory(name, side, nodes)
    figures += [
        Figure(
            name=f"peers.{name}.load",
            what="load average over a minute, at its end",
            unit="",
            runs=Runs.of(load[:1]),
        )
        for name, load in loads
    ]
    return Outcome(measure="peers", verdicts=tuple(verdicts), figures=tuple(figures))


def _times(
    name: str,
    what: str,
    promised: float,
    own: tuple[str, tuple[float, ...]],
    peer: tuple[str, tuple[float, ...]],
) -> Verdict:
    """How many times quicker, median against median."""
    sides = [
        Figure(name=side, what="each time", unit="s", runs=Runs.of(seconds))
        for side, seconds in (own, peer)
    ]
    return Verdict(
        name=name,
        what=what,
        unit="×",
        promised=promised,
        measured=sides[1].runs.median / sides[0].runs.median,
        sides=tuple(sides),
        at_most=False,
    )


def _memory(name: str, side: Findings, nodes: int) -> list[Figure]:
    if not side.node_mib or side.center_mib is None:
        return []

    def figure(of: str, what: str, *values: float) -> Figure:
        return Figure(name=f"peers.{name}.{of}", what=what, unit="MiB", runs=Runs.of(values))

    return [
        figure("nodes", f"memory (PSS) of {nodes} nodes together", sum(side.node_mib)),
        figure("node", "of each of them, all its processes", *side.node_mib),
        figure("center", "of the center or master, all its processes", side.center_mib),
    ]
