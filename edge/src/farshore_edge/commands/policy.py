"""Whether the node takes a command: known verb, allowed unsigned, fitting arguments, in time. Pure."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from farshore_protocol.commands import VERBS, Command, CommandError, Verb
from farshore_protocol.commands.arguments import ArgumentsError, check_arguments
from farshore_protocol.commands.catalogue import Risk, risk_of

from farshore_edge.commands.rules import Rules, rule_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``unsigned_risks``: the risks of verbs that are accepted without a signature. ``rules``: the
    node's own, where it has some."""

    unsigned_risks: frozenset[str] = frozenset({"read"})
    rules: Rules | None = None

    @classmethod
    def development(cls, rules: Rules | None = None) -> "Policy":
        return cls(unsigned_risks=frozenset({"read", "change", "danger"}), rules=rules)


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
    catalogue: Mapping[str, Verb] = VERBS,
) -> Accepted | Refused:
    """``center_ms``: the center's time where the node knows it; see ``Command.iat``."""
    verb = catalogue.get(name) if name in known else None
    if verb is None:
        near = difflib.get_close_matches(name, sorted(known), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
        return rejected("unknown_verb", f"verb {name!r} is not known here; {hint}")
    try:
        args = check_arguments(verb, command.args)
    except ArgumentsError as exc:
        return rejected(exc.reason, exc.sentence())
    risk = risk_of(verb, args)
    ruling = None if policy.rules is None else rule_on(policy.rules, name, args)
    if ruling is not None and not ruling.allowed:
        return rejected("policy", ruling.why)
    if risk not in policy.unsigned_risks and not (ruling is not None and ruling.unsigned):
        return rejected(
            "unsigned",
            f"verb {name!r} has the risk {risk!r}; this node takes it only signed (unsigned: with "
            "--dev, or by a rule of its policy that says so)",
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
