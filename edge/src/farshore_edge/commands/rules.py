"""A node's own rules: which commands it takes, told with the rule that decided. Pure.

The first rule that fits decides; what none fits is decided by ``default``. Rules only narrow what a
node takes, but for a rule that says ``unsigned``: what it allows needs no signature.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal

import msgspec

Effect = Literal["allow", "deny"]

REST = "**"
"""At the end of ``argv``: any words, or none."""
TOLD_MOST = 5
_WORD_CHARS = 60


def glob(pattern: str) -> re.Pattern[str]:
    """``*`` any characters but ``/``, ``**`` those as well, ``?`` one but ``/``; else as it is."""
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    of = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(of.get(part) or re.escape(part) for part in parts), re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``verbs``: globs of names. ``argv``: one glob for each word of a program's vector. ``args``: JSON
    pointer into the arguments → what the value there must match as a whole.

    Where an ``allow`` has ``argv`` or ``args`` it covers only arguments that it names there, or in
    ``also``: whoever allows a program does not allow it with another environment.
    """

    name: str
    effect: Effect
    verbs: tuple[str, ...]
    argv: tuple[str, ...] | None = None
    args: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    also: frozenset[str] = frozenset()
    unsigned: bool = False

    @property
    def narrow(self) -> bool:
        return self.argv is not None or bool(self.args)

    def text(self) -> str:
        """For people: what it is about."""
        words = []
        if self.argv is not None:
            words.append("argv " + " ".join(self.argv))
        words += [f"{path} {pattern.pattern}" for path, pattern in self.args.items()]
        return f"rule {self.name!r}" + (f" ({'; '.join(words)})" if words else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``origin``: where they were read. ``fault``: why they can't be used; ``rules`` are then the ones
    of ``closed``."""

    origin: str
    rules: tuple[Rule, ...]
    default: Effect = "deny"
    fault: str | None = None


def closed(origin: str, fault: str) -> Rules:
    """In place of rules that can't be read: the node says how it is, and takes nothing else."""
    rule = Rule(name="how the node is", effect="allow", verbs=("ping", "status", "verbs"))
    return Rules(origin=origin, rules=(rule,), fault=fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """``rule``: the one that decided, None where it was the default. ``why``: for people."""

    allowed: bool
    rule: Rule | None
    why: str

    @property
    def unsigned(self) -> bool:
        return self.allowed and self.rule is not None and self.rule.unsigned


def rule_on(rules: Rules, verb: str, args: object) -> Ruling:
    """What the rules say of a verb with these arguments (as its type has them)."""
    given = plain(args)
    for rule in rules.rules:
        if _names(rule, verb) and _fits(rule, given) and not _beyond(rule, given, args):
            return _ruling(rules, rule, verb, given, args)
    if rules.default == "allow":
        return Ruling(allowed=True, rule=None, why=f"no rule of {rules.origin} is about it")
    reason = f"no rule of {rules.origin} allows {_told(verb, given)}"
    return Ruling(allowed=False, rule=None, why=_refusal(rules, reason, verb, given, args))


def plain(args: object) -> dict[str, Any]:
    """The arguments as JSON has them, with their defaults."""
    found: dict[str, Any] = msgspec.to_builtins(args)
    return found


def _ruling(rules: Rules, rule: Rule, verb: str, given: dict[str, Any], args: object) -> Ruling:
    place = f"{rule.text()} of {rules.origin}"
    if rule.effect == "allow":
        return Ruling(allowed=True, rule=rule, why=f"{place} allows it")
    reason = f"{place} refuses {_told(verb, given)}"
    return Ruling(allowed=False, rule=rule, why=_refusal(rules, reason, verb, given, args))


def _refusal(rules: Rules, reason: str, verb: str, given: dict[str, Any], args: object) -> str:
    if rules.fault is not None:
        why = f"the policy {rules.origin} can't be used ({rules.fault})"
        return f"{why}; until it can, this node takes ping, status and verbs alone"
    parts = [reason]
    for rule in rules.rules:
        if rule.effect == "allow" and _names(rule, verb) and _fits(rule, given):
            beyond = _beyond(rule, given, args)
            parts += [f"{rule.text()} would, without {', '.join(beyond)}"] if beyond else []
    allowed = [r.text() for r in rules.rules if r.effect == "allow" and _names(r, verb)]
    more = f" and {len(allowed) - TOLD_MOST} more" if len(allowed) > TOLD_MOST else ""
    what = ", ".join(allowed[:TOLD_MOST]) or "nothing"
    parts.append(f"of {verb} is allowed: {what}{more}")
    return "; ".join(parts)


def _told(verb: str, given: dict[str, Any]) -> str:
    argv = given.get("argv")
    if not isinstance(argv, list):
        return verb
    words = " ".join(str(word)[:_WORD_CHARS] for word in argv[:4])
    return f"{verb} {words}" + (" …" if len(argv) > 4 else "")


def _names(rule: Rule, verb: str) -> bool:
    return any(glob(each).fullmatch(verb) for each in rule.verbs)


def _fits(rule: Rule, given: dict[str, Any]) -> bool:
    if rule.argv is not None and not argv_fits(rule.argv, given.get("argv")):
        return False
    return all(
        any(pattern.fullmatch(text) for text in _texts(given, path))
        for path, pattern in rule.args.items()
    )


def _beyond(rule: Rule, given: dict[str, Any], args: object) -> list[str]:
    """Arguments that were given and that an allowing, narrow rule does not speak of."""
    if rule.effect == "deny" or not rule.narrow:
        return []
    spoken = {path.split("/")[1] for path in rule.args} | rule.also
    if rule.argv is not None:
        spoken.add("argv")
    usual = _defaults(type(args))
    return [
        name
        for name, value in given.items()
        if name not in spoken and (name not in usual or value != usual[name])
    ]


def _defaults(kind: Any) -> dict[str, Any]:
    """Of those arguments that have one."""
    found: dict[str, Any] = {}
    for each in fields(kind) if is_dataclass(kind) else ():
        if each.default is not MISSING:
            found[each.name] = msgspec.to_builtins(each.default)
        elif each.default_factory is not MISSING:
            found[each.name] = msgspec.to_builtins(each.default_factory())
    return found


def argv_fits(patterns: Sequence[str], argv: object) -> bool:
    """Word by word; ``REST`` at the end stands for all that follow."""
    if not isinstance(argv, list):
        return False
    if patterns and patterns[-1] == REST:
        patterns, argv = patterns[:-1], argv[: len(patterns) - 1]
    return len(patterns) == len(argv) and all(
        glob(pattern).fullmatch(str(word)) for pattern, word in zip(patterns, argv, strict=True)
    )


def _texts(given: object, path: str) -> Iterator[str]:
    """The value that a JSON pointer (RFC 6901) leads to, as text: at most one."""
    found = given
    for step in path.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return
    if found is not None:
        yield (
            found if isinstance(found, str) else msgspec.json.encode(found, order="sorted").decode()
        )
