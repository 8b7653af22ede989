"""What every door needs: the parts of the running hub, found by `request.app[HUB]`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from hub.engines.base import Engine
from hub.options import Options
from hub.streams import Streams
from hub.subscription import Subscriptions
from hub.web.bodies import Bodies
from hub.web.metrics import Metrics


@dataclass
class Context:
    """The parts of one running hub."""

    options: Options
    engine: Engine
    streams: Streams
    subscriptions: Subscriptions
    metrics: Metrics
    bodies: Bodies
    started: float = field(default_factory=time.monotonic)
    followed: int = 0  # subscriptions of streams that are open

    @property
    def is_full(self) -> bool:
        """Whether there are as many subscriptions as there may be."""
        return len(self.subscriptions) + self.followed >= self.options.max_subscriptions

    @contextmanager
    def following(self) -> Iterator[None]:
        """Count one subscription of a stream."""
        self.followed += 1
        try:
            yield
        finally:
            self.followed -= 1


HUB: web.AppKey[Context] = web.AppKey("hub", Context)
