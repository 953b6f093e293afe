"""The schedule gives what is due, once, whatever was put before (against a model)."""

from farshore_center.commands.schedule import Schedule
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

KEYS = st.tuples(st.sampled_from(["c1", "c2", "c3"]), st.sampled_from(["n1", "n2"]))
TIMES = st.integers(0, 20)


class ScheduleMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()
        self.model: dict[tuple[str, str], int] = {}

    @rule(key=KEYS, look_ms=TIMES)
    def put(self, key: tuple[str, str], look_ms: int) -> None:
        self.schedule.put(key, look_ms)
        self.model[key] = look_ms

    @rule(node=st.sampled_from(["n1", "n2", "n3"]), now_ms=TIMES)
    def hurry(self, node: str, now_ms: int) -> None:
        self.schedule.hurry([node], now_ms)
        self.model |= {key: now_ms for key in self.model if key[1] == node}

    @rule(now_ms=TIMES, limit=st.integers(0, 4))
    def take(self, now_ms: int, limit: int) -> None:
        taken = self.schedule.take_due(now_ms, limit)
        due = sorted((at, key) for key, at in self.model.items() if at <= now_ms)
        assert taken == [key for _, key in due[:limit]]
        for key in taken:
            del self.model[key]

    @rule()
    def look(self) -> None:
        assert self.schedule.next_ms() == min(self.model.values(), default=None)
        assert len(self.schedule) == len(self.model)


TestSchedule = ScheduleMachine.TestCase
