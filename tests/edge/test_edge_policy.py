"""What the node takes and what it refuses, and in which words."""

from dataclasses import dataclass
from typing import Any

import pytest
from farshore_edge.commands.policy import Accepted, Policy, Refused, judge
from farshore_protocol.commands import VERBS, Command

KNOWN = tuple(VERBS)
FITTING: dict[str, Any] = {
    "cancel": {"id": "c1"},
    "config-override": {"action": "set"},
    "exec": {"argv": ["true"]},
    "file-read": {"path": "/a"},
    "file-write": {"path": "/a", "data": ""},
    "link-test": {"bytes": 4_000_000},
    "net-probe": {"kind": "icmp", "host": "a"},
    "services": {"action": "stop", "unit": "a"},
}
CENTER_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Case:
    name: str
    args: Any = None
    dev: bool = False
    iat: int | None = None
    ttl_s: float | None = None
    center_ms: float | None = CENTER_MS
    refused: str | None = None
    code: str = ""
    words: tuple[str, ...] = ()


CASES = {
    "what only reads is taken unsigned": Case("ping"),
    "what is dangerous is not": Case(
        "exec", {"argv": ["ls"]}, refused="rejected", code="unsigned", words=("'exec'", "danger")
    ),
    "an agent for development takes it": Case("exec", {"argv": ["ls"]}, dev=True),
    "an unknown verb is answered with near names": Case(
        "pign", refused="rejected", code="unknown_verb", words=("'pign'", "did you mean ping")
    ),
    "with nothing near the known ones are named": Case(
        "zzzz", refused="rejected", code="unknown_verb", words=("exec, facts, file-read",)
    ),
    "a missing argument is named": Case(
        "exec", {}, dev=True, refused="rejected", code="bad_args", words=("args.argv:", "`argv`")
    ),
    "an argument of the wrong type is named by its path": Case(
        "exec",
        {"argv": ["a", 5]},
        dev=True,
        refused="rejected",
        code="bad_args",
        words=("args.argv[1]", "str"),
    ),
    "an empty vector is no program": Case(
        "exec", {"argv": []}, dev=True, refused="rejected", code="bad_args", words=("args.argv",)
    ),
    "an unknown argument is refused: it would change what was asked for": Case(
        "ping",
        {"from": "the future"},
        refused="rejected",
        code="bad_args",
        words=("args.from", "no"),
    ),
    "late by the center's clock": Case(
        "ping",
        iat=CENTER_MS - 61_000,
        ttl_s=60,
        refused="expired",
        code="expired",
        words=("1.0 s after", "60 s"),
    ),
    "just in time": Case("ping", iat=CENTER_MS - 60_000, ttl_s=60),
    "late, but the node does not know the center's time": Case(
        "ping", iat=CENTER_MS - 9_000_000, ttl_s=60, center_ms=None
    ),
    "old, but without a time to live": Case("ping", iat=CENTER_MS - 9_000_000),
    "a time to live without a time of sending": Case("ping", ttl_s=60),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_taken(case: Case) -> None:
    verdict = judge(
        case.name,
        Command(id="c", args=case.args or {}, iat=case.iat, ttl_s=case.ttl_s),
        policy=Policy.development() if case.dev else Policy(),
        known=KNOWN,
        center_ms=case.center_ms,
    )
    if case.refused is None:
        assert isinstance(verdict, Accepted)
        return
    assert isinstance(verdict, Refused)
    assert (verdict.state, verdict.error.code) == (case.refused, case.code)
    assert all(word in verdict.error.message for word in case.words), verdict.error.message


@pytest.mark.parametrize("name", KNOWN)
def test_without_a_signature_exactly_what_reads_is_taken(name: str) -> None:
    verdict = judge(
        name, Command(args=FITTING.get(name, {})), policy=Policy(), known=KNOWN, center_ms=None
    )
    assert isinstance(verdict, Accepted) == (VERBS[name].risk == "read")


def test_a_verb_of_the_catalogue_that_this_node_has_not_is_unknown_here() -> None:
    verdict = judge("facts", Command(), policy=Policy(), known=["ping"], center_ms=None)
    assert isinstance(verdict, Refused)
    assert verdict.error.code == "unknown_verb"
