"""A client of a real hub, which runs in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hub.client import Hub
from tests.conftest import RunHub
from tests.process import HubProcess


@pytest.fixture
def server(run_hub: RunHub) -> HubProcess:
    """A hub that tells its subscribers to come back soon, and to expect a heartbeat often."""
    return run_hub("--retry", "50", "--heartbeat", "0.2", "--durability", "os")


@pytest.fixture
async def client(server: HubProcess) -> AsyncIterator[Hub]:
    """A client of it."""
    async with Hub(server.url) as client:
        yield client
