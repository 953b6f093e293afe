"""Whether the node takes a command: known verb, allowed unsigned, fitting arguments, in time. Pure."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass

from farshore_protocol.commands import VERBS, Command, CommandError, Verb
from farshore_protocol.commands.arguments import ArgumentsError, check_arguments
from farshore_protocol.commands.catalogue import Risk, risk_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``unsigned_risks``: the risks of verbs that are accepted without a signature."""

    unsigned_risks: frozenset[str] = frozenset({"read"})

    @classmethod
    def development(cls) -> "Policy":
        return cls(unsigned_risks=frozenset({"read", "change", "danger"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """``risk``: of the verb with these arguments."""

    verb: Verb
    args: object
    risk: Risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """``state`` is ``rejected``, ``expired`` or ``cancelled``."""

    state: str
    error: CommandError


def judge(
    name: str,
    command: Command,
    *,
    policy: Policy,
    known: Collection[str],
    center_ms: float | None,
) -> Accepted | Refused:
    """``center_ms``: the center's time where the node knows it; see ``Command.iat``."""
    verb = VERBS.get(name) if name in known else None
    if verb is None:
        near = difflib.get_close_matches(name, sorted(known), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
        return rejected("unknown_verb", f"verb {name!r} is not known here; {hint}")
    try:
        args = check_arguments(verb, command.args)
    except ArgumentsError as exc:
        return rejected(exc.reason, exc.sentence())
    risk = risk_of(verb, args)
    if risk not in policy.unsigned_risks:
        return rejected(
            "unsigned",
            f"verb {name!r} has the risk {risk!r}; this node takes it only signed "
            "(an agent started with --dev takes it unsigned)",
        )
    if command.iat is not None and command.ttl_s is not None and center_ms is not None:
        late_s = (center_ms - command.iat) / 1000 - command.ttl_s
        if late_s > 0:
            return Refused(
                state="expired",
                error=CommandError(
                    code="expired",
                    message=f"arrived {late_s:.1f} s after its time to live of {command.ttl_s:g} s",
                ),
            )
    return Accepted(verb=verb, args=args, risk=risk)


def rejected(code: str, message: str) -> Refused:
    """``code`` for programs, ``message`` for people."""
    return Refused(state="rejected", error=CommandError(code=code, message=message))
