"""The verdict on a broker: what was heard of the self-test's words, compared with them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from farshore_center.broker.needs import NEEDS, Evidence, Need, Script, judge, unreached
from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.topics import Up, parse
from hypothesis import given
from hypothesis import strategies as st

SCRIPT = Script(name="selftest-0a1b")
ALL_HEARD = Evidence(
    live=SCRIPT.live,
    deep=SCRIPT.deep,
    down=SCRIPT.down,
    group=SCRIPT.group,
    late=(SCRIPT.kept, SCRIPT.marker),
    later=(SCRIPT.marker,),
    again=(SCRIPT.marker,),
    will=SCRIPT.will,
    large=SCRIPT.large,
)

Flaw = Callable[[Evidence], Evidence]
CUT = replace(SCRIPT.large, payload=SCRIPT.large.payload[:1000])
UNMARKED = (replace(SCRIPT.kept, retain=False), SCRIPT.marker)
FLAWS: dict[str, tuple[Flaw, set[Need], str]] = {
    "nothing of the first word": (lambda e: replace(e, live=None), {"qos1", "wildcard"}, "in time"),
    "QoS 0": (lambda e: replace(e, live=replace(SCRIPT.live, qos=0)), {"qos1"}, "at QoS 0"),
    "not down": (lambda e: replace(e, down=None), {"down"}, "in time"),
    "another topic": (
        lambda e: replace(e, group=replace(SCRIPT.group, topic="fs1/group/a-b/cmd/x")),
        {"group"},
        "it arrived as 'fs1/group/a-b/cmd/x'",
    ),
    "not that deep": (lambda e: replace(e, deep=None), {"deep_topic"}, "in time"),
    "nothing retained": (lambda e: replace(e, late=(SCRIPT.marker,)), {"retained"}, "did not come"),
    "not marked": (lambda e: replace(e, late=UNMARKED), {"retained"}, "not marked"),
    "not cleared": (
        lambda e: replace(e, later=(SCRIPT.kept, SCRIPT.marker)),
        {"clearing"},
        "there came fs1/up/selftest-0a1b/log/kept",
    ),
    "an older session": (
        lambda e: replace(e, again=(SCRIPT.missed, SCRIPT.marker)),
        {"clean_session"},
        "there came fs1/down/selftest-0a1b/cmd/missed",
    ),
    "a deaf session": (lambda e: replace(e, again=None), {"clean_session"}, "nothing came"),
    "no will": (lambda e: replace(e, will=None), {"will"}, "in time"),
    "cut": (lambda e: replace(e, large=CUT), {"large_payload"}, "1000 of 102400 bytes"),
    "garbled": (
        lambda e: replace(e, large=replace(SCRIPT.large, payload=bytes(MAX_MESSAGE_BYTES))),
        {"large_payload"},
        "other content",
    ),
}


def test_a_broker_of_which_all_was_heard_is_fit() -> None:
    report = judge(SCRIPT, ALL_HEARD)
    assert (report.fit, report.reached, report.text()) == (True, True, "")


@pytest.mark.parametrize(("flaw", "needs", "seen"), FLAWS.values(), ids=FLAWS)
def test_a_flaw_is_named_with_what_was_seen(flaw: Flaw, needs: set[Need], seen: str) -> None:
    report = judge(SCRIPT, flaw(ALL_HEARD))
    assert set(report.faults) == needs
    assert not report.fit
    assert report.reached
    for need in needs:
        assert seen in report.faults[need]
        assert NEEDS[need] in report.text()


@given(st.sets(st.sampled_from(sorted(FLAWS))))
def test_flaws_together_are_all_named_and_nothing_else_is(names: set[str]) -> None:
    """Of two flaws of one field the later one is what was heard."""
    evidence, expected = ALL_HEARD, dict[str, set[Need]]()
    for name in sorted(names):
        flaw, needs, _ = FLAWS[name]
        before, evidence = evidence, flaw(evidence)
        changed = next(
            (f for f in Evidence.__slots__ if getattr(before, f) != getattr(evidence, f)), name
        )
        expected[changed] = needs
    assert set(judge(SCRIPT, evidence).faults) == set().union(*expected.values())


def test_every_need_stands_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "brokers.md").read_text()
    for need, sentence in NEEDS.items():
        assert f"| `{need}` | {sentence} |" in page


def test_a_broker_that_heard_nothing_can_do_nothing() -> None:
    faults = judge(SCRIPT, Evidence()).faults
    assert set(faults) == set(NEEDS) - {"connection"}


def test_a_broker_that_was_not_reached_is_not_fit() -> None:
    report = unreached("no connection within 5 s")
    assert not report.fit
    assert not report.reached
    assert report.text().endswith("no connection within 5 s")


def test_the_words_are_those_that_the_needs_speak_of() -> None:
    """They are on real topics, of a kind of which no center keeps anything."""
    for message in (SCRIPT.live, SCRIPT.deep, SCRIPT.kept, SCRIPT.will, SCRIPT.large):
        topic = parse(message.topic)
        assert isinstance(topic, Up)
        assert topic.kind == "log"
    assert SCRIPT.deep.topic.count("/") == 6
    assert SCRIPT.group.topic.split("/")[2].count("~") == 6
    parse(SCRIPT.group.topic)
    parse(SCRIPT.marker.topic)
    assert len(SCRIPT.large.payload) == MAX_MESSAGE_BYTES
