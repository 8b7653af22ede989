"""Counts what happens, for Prometheus. Owns the names of the metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hub.consumers.registry import Consumers
from hub.engines.base import Committed, Engine
from hub.subscription import Subscriptions

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_EVENTS = (1, 2, 5, 10, 25, 50, 100, 250, 1000, 10_000, 100_000)


class Metrics:
    """The metrics of one hub, in a registry of their own."""

    def __init__(self, engine: Engine, subscriptions: Subscriptions, consumers: Consumers) -> None:
        registry = self._registry = CollectorRegistry()
        self._events = Counter("hub_events_written", "Events committed.", registry=registry)
        self._bytes = Counter("hub_bytes_written", "Bytes committed to logs.", registry=registry)
        self._seconds = Histogram(
            "hub_commit_seconds",
            "Time from the start of a group's write until it was durable.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch = Histogram(
            "hub_commit_events", "Events in one group commit.", buckets=_EVENTS, registry=registry
        )
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
        self._gauge("hub_position", "Position of the last event.", lambda: engine.head)
        engine.on_commit.append(self.committed)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self._registry).set_function(value)

    def committed(self, commit: Committed) -> None:
        """Count a group."""
        self._events.inc(commit.count)
        self._bytes.inc(commit.end - commit.start)
        self._seconds.observe(commit.seconds)
        self._batch.observe(commit.count)

    def failed(self, code: str) -> None:
        """Count an error by its code."""
        self._errors.labels(code).inc()

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
