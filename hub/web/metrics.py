"""Counts what happens, for Prometheus. Owns the names of the metrics."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hub.consumers.registry import Consumers
from hub.engines.base import Committed, Engine
from hub.subscription import Subscriptions

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_EVENTS = (1, 2, 5, 10, 25, 50, 100, 250, 1000, 10_000, 100_000)


class _Histogram:
    """Counts values in buckets: at each commit, where the library's own costs microseconds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """How many values there are up to each bound."""
        names = [*map(str, map(float, self._bounds)), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


class _Commits(Collector):
    """What is counted at each commit."""

    def __init__(self) -> None:
        self.bytes = 0
        self.seconds = _Histogram(_SECONDS)
        self.events = _Histogram(_EVENTS)

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("hub_events_written", "Events committed.", self.events.sum)
        yield CounterMetricFamily("hub_bytes_written", "Bytes committed to logs.", self.bytes)
        yield HistogramMetricFamily(
            "hub_commit_seconds",
            "Time from the start of a group's write until it was durable.",
            self.seconds.buckets,
            self.seconds.sum,
        )
        yield HistogramMetricFamily(
            "hub_commit_events",
            "Events in one group commit.",
            self.events.buckets,
            self.events.sum,
        )


class Metrics:
    """The metrics of one hub, in a registry of their own."""

    def __init__(self, engine: Engine, subscriptions: Subscriptions, consumers: Consumers) -> None:
        registry = self._registry = CollectorRegistry()
        self._commits = _Commits()
        registry.register(self._commits)
        self._errors = Counter(
            "hub_errors", "Requests answered with an error.", ["code"], registry=registry
        )
        self._gauge("hub_subscribers", "Open subscriptions.", lambda: len(subscriptions))
        self._gauge(
            "hub_lagging_subscribers",
            "Subscriptions that are served from files because they fell behind.",
            lambda: subscriptions.behind_count,
        )
        self._gauge(
            "hub_logs", "Logs that have been written.", lambda: sum(1 for _ in engine.logs())
        )
        self._gauge("hub_consumers", "Consumers that there are.", lambda: len(consumers))
        self._gauge(
            "hub_stopped_consumers",
            "Consumers that an error has stopped.",
            lambda: sum(each.progress.error is not None for each in consumers),
        )
        self._gauge("hub_tasks", "Tasks of the event loop.", lambda: len(asyncio.all_tasks()))
        self._gauge("hub_position", "Position of the last event.", lambda: engine.head)
        engine.on_commit.append(self.committed)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self._registry).set_function(value)

    def committed(self, commit: Committed) -> None:
        """Count a group."""
        commits = self._commits
        commits.bytes += commit.end - commit.start
        commits.seconds.observe(commit.seconds)
        commits.events.observe(commit.count)

    def failed(self, code: str) -> None:
        """Count an error by its code."""
        self._errors.labels(code).inc()

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
