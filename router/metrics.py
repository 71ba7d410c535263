"""What Prometheus reads: the meters of the versions in the table, and of nothing else.

The numbers live with the versions, so that a deleted version's labels go with it, and a request
pays for a few additions only.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from longshore.router.meter import LATENCY_BOUNDS, Meter
from longshore.router.table import Table

_LABELS = ("model", "version")


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
            latency.add_metric(labels, _buckets(version.meter), version.meter.seconds)
        yield from (requests, latency, in_flight, endpoints, ejections)
        yield from self._of_shadows()

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
            latency.add_metric(labels, _buckets(meter), meter.seconds)
        yield from (copies, requests, latency, in_flight)


def registry_of(table: Table) -> CollectorRegistry:
    """Return a registry that holds the table's metrics."""
    registry = CollectorRegistry()
    registry.register(TableCollector(table))
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Return the metrics in Prometheus' text format."""
    return generate_latest(registry)


def _buckets(meter: Meter) -> list[tuple[str, float]]:
    """Return the histogram as Prometheus wants it: each bucket holds those below it, too."""
    bounds = [*(f"{bound:g}" for bound in LATENCY_BOUNDS), "+Inf"]
    total, buckets = 0, []
    for bound, count in zip(bounds, meter.latencies, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
