"""What Prometheus reads: the meters of the versions in the table, and of nothing else.

The numbers live with the versions, so that a deleted version's labels go with it, and a request
pays for a few additions only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from longshore.core.ledger import WAKE_BOUNDS
from longshore.core.names import VersionKey
from longshore.router.holds import HOLD_BOUNDS
from longshore.router.meter import LATENCY_BOUNDS
from longshore.router.table import Table

_LABELS = ("model", "version")

WakesCounted = Callable[[], Mapping[VersionKey, tuple[Sequence[int], float]]]


class TableCollector(Collector):
    """Reads the meters of all versions that had a request.

    Args:
        table: where the versions are.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        requests = CounterMetricFamily(
            "longshore_requests",
            "Requests by the class of their status; aborted: no complete answer was given.",
            labels=(*_LABELS, "status"),
        )
        latency = HistogramMetricFamily(
            "longshore_request_seconds",
            "Seconds from a request's head to its answer's last byte.",
            labels=_LABELS,
        )
        in_flight = GaugeMetricFamily(
            "longshore_requests_in_flight", "Requests in flight now.", labels=_LABELS
        )
        endpoints = GaugeMetricFamily("longshore_endpoints", "Ready replicas.", labels=_LABELS)
        ejections = CounterMetricFamily(
            "longshore_ejections",
            "How often a replica that failed was taken out for a moment.",
            labels=_LABELS,
        )
        for version in self._table.versions():
            labels = (version.key.name, version.key.version)
            endpoints.add_metric(labels, len(version.replicas))
            if version.meter.last_request is None:
                continue
            in_flight.add_metric(labels, version.meter.in_flight)
            for outcome, count in version.meter.answers.items():
                requests.add_metric((*labels, outcome), count)
            ejections.add_metric(labels, version.meter.ejections)
            latency.add_metric(
                labels, _buckets(LATENCY_BOUNDS, version.meter.latencies), version.meter.seconds
            )
        yield from (requests, latency, in_flight, endpoints, ejections)
        yield from self._of_holds()
        yield from self._of_shadows()

    def _of_holds(self) -> Iterator[Metric]:
        held = GaugeMetricFamily(
            "longshore_requests_held",
            "Requests that wait now until their version is ready.",
            labels=_LABELS,
        )
        seconds = HistogramMetricFamily(
            "longshore_hold_seconds",
            "Seconds that requests were held until their version had a replica for them.",
            labels=_LABELS,
        )
        for version in self._table.versions():
            meter = version.meter
            if meter.holds:
                labels = (version.key.name, version.key.version)
                held.add_metric(labels, meter.waiting)
                buckets = _buckets(HOLD_BOUNDS, meter.hold_times)
                seconds.add_metric(labels, buckets, meter.hold_seconds)
        yield from (held, seconds)

    def _of_shadows(self) -> Iterator[Metric]:
        copies = CounterMetricFamily(
            "longshore_shadow_copies",
            "Copies of requests for a shadow: sent, with an answer; failed, without a whole one; "
            "or dropped, not tried. The reason says why.",
            labels=(*_LABELS, "outcome", "reason"),
        )
        requests = CounterMetricFamily(
            "longshore_shadow_requests",
            "Requests that a version got as a shadow, by the class of their status.",
            labels=(*_LABELS, "status"),
        )
        latency = HistogramMetricFamily(
            "longshore_shadow_request_seconds",
            "Seconds from the sending of a copy to its answer's last byte.",
            labels=_LABELS,
        )
        in_flight = GaugeMetricFamily(
            "longshore_shadow_copies_in_flight", "Copies on their way now.", labels=_LABELS
        )
        for version in self._table.versions():
            meter = version.shadow_meter
            if meter is None:
                continue
            labels = (version.key.name, version.key.version)
            in_flight.add_metric(labels, meter.in_flight)
            for became, count in meter.copies.items():
                outcome, _, reason = became.partition(" ")
                copies.add_metric((*labels, outcome, reason), count)
            for outcome, count in meter.answers.items():
                requests.add_metric((*labels, outcome), count)
            latency.add_metric(labels, _buckets(LATENCY_BOUNDS, meter.latencies), meter.seconds)
        yield from (copies, requests, latency, in_flight)


class WakeCollector(Collector):
    """Reads the histograms of wakes that the ledger keeps.

    Args:
        counted: of each version, the counts by bucket and the sum of seconds.
    """

    def __init__(self, counted: WakesCounted) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        """Yield the metric."""
        wakes = HistogramMetricFamily(
            "longshore_wake_seconds",
            "Seconds from when a wake was asked for, by a request, a user, a window or expected "
            "calls, to readiness; of wakes that came to it.",
            labels=_LABELS,
        )
        for key, (counts, total) in self._counted().items():
            wakes.add_metric((key.name, key.version), _buckets(WAKE_BOUNDS, counts), total)
        yield wakes


def registry_of(table: Table, wakes: WakesCounted = dict) -> CollectorRegistry:
    """Return a registry that holds the table's metrics, and those of wakes."""
    registry = CollectorRegistry()
    registry.register(WakeCollector(wakes))
    registry.register(TableCollector(table))
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Return the metrics in Prometheus' text format."""
    return generate_latest(registry)


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return a histogram as Prometheus wants it: each bucket holds those below it, too."""
    names = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    total, buckets = 0, []
    for name, count in zip(names, counts, strict=True):
        total += count
        buckets.append((name, float(total)))
    return buckets
