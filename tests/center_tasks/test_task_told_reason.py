"""What a node says of a task that does not go on is shown, though its state is the one that it had."""

from farshore_center.tasks.hearing import Moment, hear
from farshore_center.tasks.records import Granted, Instance
from farshore_center.tasks.views import instance_document
from farshore_protocol.tasks import Held

SLOW = "prepare: no answer for 30 s; it is given up after 1800 s"


def test_a_driver_that_hangs_is_seen_while_it_hangs() -> None:
    instance = Instance(task="web", instance=0, state="active", epoch=10)
    grant = Granted(task="web", instance=0, epoch=10, node="n1", state="preparing", heard_ms=1000)

    def said(state: str, reason: str | None, at_ms: int) -> Granted:
        word = Held(task="web", instance=0, attempt=1, epoch=10, state=state, reason=reason)  # type: ignore[arg-type] # one of the table's
        return hear(instance, grant, word, Moment(at_ms), batch=False).grant

    grant = said("preparing", SLOW, 2000)
    assert instance_document(instance, grant)["reason"] == SLOW
    grant = said("starting", None, 3000)
    assert instance_document(instance, grant)["reason"] is None
