"""Events: what happened in the fleet, kept for a while and streamed to whoever watches."""

from farshore_center.events.instant import rfc3339
from farshore_center.events.model import Draft, Event
from farshore_center.events.routes import event_routes
from farshore_center.events.select import EventFilter
from farshore_center.events.service import EventLog

__all__ = ["Draft", "Event", "EventFilter", "EventLog", "event_routes", "rfc3339"]
