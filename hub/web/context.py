"""What every door needs: the parts of the running hub, found by `request.app[HUB]`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from aiohttp import web

from hub.consumers.registry import Consumers
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
    consumers: Consumers
    subscriptions: Subscriptions
    metrics: Metrics
    bodies: Bodies
    started: float = field(default_factory=time.monotonic)


HUB: web.AppKey[Context] = web.AppKey("hub", Context)
