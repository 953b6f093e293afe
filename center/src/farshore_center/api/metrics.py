"""``/metrics``: the center's own counters, collected from the rooms when they are asked for."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

Counts = Callable[[], Mapping[str, float]]


class Readings(Collector):
    """Reads everything at scrape time, so that counting costs the rooms nothing."""

    def __init__(
        self,
        *,
        counters: Mapping[str, tuple[str, Counts]],
        gauges: Mapping[str, tuple[str, Counts]],
        labelled: Mapping[str, tuple[str, str, Counts]],
    ) -> None:
        """``counters`` and ``gauges``: prefix → (text, values by name); ``labelled``: name →
        (text, label, values by the label's value)."""
        self._counters = counters
        self._gauges = gauges
        self._labelled = labelled

    def collect(self) -> Iterable[Metric]:
        for prefix, (text, read) in self._counters.items():
            for name, value in read().items():
                yield CounterMetricFamily(f"farshore_{prefix}_{name}", text, value=value)
        for prefix, (text, read) in self._gauges.items():
            for name, value in read().items():
                yield GaugeMetricFamily(f"farshore_{prefix}_{name}", text, value=value)
        for name, (text, label, read) in self._labelled.items():
            family = CounterMetricFamily(f"farshore_{name}", text, labels=[label])
            for key, value in read().items():
                family.add_metric([key], value)
            yield family


def exposition(readings: Readings) -> tuple[bytes, str]:
    """The text of ``/metrics`` and its content type."""
    registry = CollectorRegistry()
    registry.register(readings)
    return generate_latest(registry), CONTENT_TYPE_LATEST
