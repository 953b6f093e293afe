"""What a node with these settings would do with a command, and why; for ``farshore-agent policy``."""

from farshore_protocol.codec import decode
from farshore_protocol.commands import VERBS, Command
from farshore_protocol.errors import RemoteProtocolError

from farshore_edge.commands.policy import Policy, Refused, judge
from farshore_edge.commands.policy_file import load_rules
from farshore_edge.commands.rules import rule_on
from farshore_edge.commands.verbs.own import write_roots
from farshore_edge.settings import Settings


def explained(settings: Settings, verb: str | None, args: str) -> tuple[int, str]:
    """An exit code, and the sentence: 0 taken, or the file is right; 1 not taken; 2 it is wrong."""
    rules = load_rules(settings.policy, write_roots(settings))
    if rules is not None and rules.fault is not None:
        return 2, f"farshore-agent: the policy {rules.origin}: {rules.fault}"
    if verb is None:
        if rules is None:
            return 0, "no policy is set: every verb is taken, by its risk"
        return 0, f"{rules.origin}: {len(rules.rules)} rules; what none fits: {rules.default}"
    try:
        command = decode(Command, b'{"args":' + args.encode() + b"}")
    except RemoteProtocolError as exc:
        return 2, f"farshore-agent: args: {exc.detail}"
    policy = Policy.development(rules) if settings.dev else Policy(rules=rules)
    verdict = judge(verb, command, policy=policy, known=VERBS, center_ms=None)
    if isinstance(verdict, Refused):
        return 1, f"{verdict.state} ({verdict.error.code}): {verdict.error.message}"
    why = "no policy is set" if rules is None else rule_on(rules, verb, verdict.args).why
    return 0, f"taken: {why}"
