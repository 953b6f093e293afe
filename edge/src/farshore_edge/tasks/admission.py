"""Whether a grant can be run here at all: decided once, when it comes. Pure."""

from farshore_protocol.tasks import Grant

from farshore_edge.tasks.account import WHY
from farshore_edge.tasks.drivers.model import DriverError
from farshore_edge.tasks.drivers_here import DriversHere
from farshore_edge.tasks.model import Kept
from farshore_edge.tasks.office import settings_of


def admitted(grant: Grant, here: DriversHere, now_ms: int) -> Kept:
    """As it is taken into the books: to be begun, or ended already."""
    kept = Kept(grant=grant, at_ms=now_ms)
    if grant.want == "stop":
        reason = grant.reason or "asked"
        return kept.moved("stopped", now_ms, code=reason, reason=WHY[reason])
    driver = here.usable.get(grant.spec.driver)
    if driver is None:
        why = here.lack_of(grant.spec.driver)
        return kept.moved("rejected", now_ms, code="no_driver", reason=why)
    try:
        settings_of(driver, grant.spec.run)
    except DriverError as exc:
        return kept.moved("rejected", now_ms, code=exc.code, reason=exc.detail[:900])
    return kept
