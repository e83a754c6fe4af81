"""Metrics for operators (Prometheus), on an address of their own: never among what the public can ask for.

Invariants: every label's values are listed here, so no request can make a new series; nothing names a project, a file,
a user or an address. See docs/adr/0070-metrics.md.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from assay.index.web.asgi import ASGIApp, Headers, Message, Receive, Scope, Send
from assay.index.web.quick import Find, QuickAnswer
from assay.model.errors import AssayError, OperatorError

ROUTES: Final = frozenset({"healthz", "simple", "packages", "tuf", "log", "pypi", "integrity", "legacy", "claims"})
OTHER: Final = "other"
_STATUSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
_BUCKETS_S: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class Metrics:
    """What is counted, in a registry of its own. ``clock``: seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._requests = Counter(
            "assay_http_requests", "Requests answered.", ("route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "assay_http_request_seconds",
            "From the request's head to its last byte.",
            ("route",),
            registry=self.registry,
            buckets=_BUCKETS_S,
        )

    def measured(self, app: ASGIApp) -> ASGIApp:
        """``app``, each of its HTTP requests counted and timed."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            statuses: list[int] = []

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])
                await send(message)

            began = self._clock()
            try:
                await app(scope, receive, noting)
            finally:
                route = route_of(scope["path"])
                status = _STATUSES[min(statuses[-1] // 100, 5) - 1] if statuses else "5xx"
                self._requests.labels(route, status).inc()
                self._seconds.labels(route).observe(self._clock() - began)

        return answer

    def measured_find(self, find: Find) -> Find:
        """``find``, with what it answers counted and timed."""

        def answer(target: bytes, headers: Headers) -> QuickAnswer | None:
            began = self._clock()
            found = find(target, headers)
            if found is not None:
                route = route_of(target.decode("latin-1"))
                self._requests.labels(route, "2xx").inc()
                self._seconds.labels(route).observe(self._clock() - began)
            return found

        return answer

    def watch(
        self, expiries: Callable[[], Mapping[str, datetime]], waiting: Callable[[], int], published: Callable[[], int]
    ) -> None:
        """Show, whenever somebody asks: when each role ends, proposals that wait, the newest publication."""
        self.registry.register(_State(expiries, waiting, published))

    def listen(self, address: str) -> None:
        """Answer scrapes on ``address`` (``host:port``) from a thread of this process. Raises OperatorError."""
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise OperatorError(
                "not an address for metrics",
                subject="metrics.listen",
                rule="config",
                expected="127.0.0.1:9421",
                found=address,
            )
        try:
            start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            raise OperatorError(
                f"cannot listen for metrics: {error.strerror}", subject=address, rule="listen"
            ) from error


class _State(Collector):
    """The index as it is when it is asked. What cannot be read is left out, and counted as an error of the scrape."""

    def __init__(
        self, expiries: Callable[[], Mapping[str, datetime]], waiting: Callable[[], int], published: Callable[[], int]
    ) -> None:
        self._expiries = expiries
        self._waiting = waiting
        self._published = published

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families."""
        failed = 0
        ends = GaugeMetricFamily(
            "assay_role_expiry_timestamp_seconds", "When the published signature of a role ends.", labels=("role",)
        )
        try:
            for role, moment in self._expiries().items():
                ends.add_metric((role,), moment.timestamp())
        except AssayError:
            failed += 1
        yield ends
        for name, text, read in (
            ("assay_proposals_waiting", "Proposals that are not published yet.", self._waiting),
            ("assay_publication", "The number of the newest publication.", self._published),
        ):
            try:
                yield GaugeMetricFamily(name, text, value=read())
            except AssayError:
                failed += 1
        yield GaugeMetricFamily("assay_state_unreadable", "Facts that could not be read just now.", value=failed)


def route_of(path: str) -> str:
    """The label of a request: the first segment of its path if it is one that is answered, else ``other``."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return "front" if not first else first if first in ROUTES else OTHER
