"""HttpMetrics: what the front ends report of the HTTP requests they finished."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from lite.engine.histogram import Histogram
from lite.messages import HttpObservation

DURATION_BUCKETS = (0.1, 0.5, 1.0)
FINE_DURATION_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5),
    *(3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MAX_HANDLERS = 200
_OTHER = "other"


class HttpMetrics:
    """Counts by method, status class and route template."""

    def __init__(self) -> None:
        self._handlers: set[str] = set()
        self._requests: Counter[tuple[str, str, str]] = Counter()  # method, status, handler
        self._duration_s: dict[tuple[str, str], Histogram] = {}  # method, handler
        self._fine_duration_s = Histogram(FINE_DURATION_BUCKETS)
        self._sizes: dict[str, list[int]] = {}  # handler -> count, request and response bytes

    def observe(self, observation: HttpObservation) -> None:
        """Count one request."""
        # SAFETY: both come from the network; labels must stay few whatever a client sends.
        method = observation.method if observation.method in _METHODS else _OTHER
        handler = observation.handler
        if handler not in self._handlers:
            if len(self._handlers) < _MAX_HANDLERS:
                self._handlers.add(handler)
            else:
                handler = _OTHER
        self._requests[method, f"{observation.status // 100}xx", handler] += 1
        duration_s = self._duration_s.setdefault((method, handler), Histogram(DURATION_BUCKETS))
        duration_s.observe(observation.duration_s)
        self._fine_duration_s.observe(observation.duration_s)
        sizes = self._sizes.setdefault(handler, [0, 0, 0])
        sizes[0] += 1
        sizes[1] += observation.request_bytes
        sizes[2] += observation.response_bytes

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        requests = CounterMetricFamily(
            "http_requests",
            "HTTP requests by method, status and handler.",
            labels=["method", "status", "handler"],
        )
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        yield requests
        duration = HistogramMetricFamily(
            "http_request_duration_seconds",
            "Time from an HTTP request to the end of its response, few buckets, by handler.",
            labels=["method", "handler"],
        )
        for (method, handler), histogram in self._duration_s.items():
            duration.add_metric([method, handler], histogram.cumulative(), histogram.sum)
        yield duration
        fine = HistogramMetricFamily(
            "http_request_duration_highr_seconds",
            "Time from an HTTP request to the end of its response, many buckets.",
        )
        fine.add_metric([], self._fine_duration_s.cumulative(), self._fine_duration_s.sum)
        yield fine
        for position, what in ((1, "request"), (2, "response")):
            size = SummaryMetricFamily(
                f"http_{what}_size_bytes", f"Body size of HTTP {what}s.", labels=["handler"]
            )
            for handler, sizes in self._sizes.items():
                size.add_metric([handler], count_value=sizes[0], sum_value=sizes[position])
            yield size
