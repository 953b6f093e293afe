"""What the outbox's measurement concludes from what it saw."""

from bench.outbox import Drain, Round, summarise


def test_each_promise_is_judged_within_its_round_and_by_the_median() -> None:
    rounds = [
        Round(plain=100, single=95, group=2_500),
        Round(plain=1_000, single=800, group=21_000),
        Round(plain=10, single=20, group=100),
    ]
    drain = Drain(
        live_rate=1_000, drain_rate=950, alone_ms=[1.0] * 99 + [2.0], beside_ms=[3.0] * 100
    )
    outcome = summarise(rounds, drain)
    found = {v.name: (v.measured, v.held) for v in outcome.verdicts}
    assert found == {
        "outbox.group": (21.0, True),
        "outbox.single": (0.95, True),
        "outbox.drain": (0.95, True),
        "outbox.delay": (3.0, False),
    }
