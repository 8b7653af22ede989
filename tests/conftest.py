"""Fixtures: a real hub on a real socket, over a directory of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import settings

from hub.engines.files import FilesEngine
from hub.options import Options
from hub.web.app import make_app
from hub.web.runner import Runner
from tests.process import HubProcess

Client: TypeAlias = TestClient[web.Request, web.Application]
StartHub = Callable[..., Awaitable[Client]]
RunHub = Callable[..., HubProcess]

# Of what a shell began in the background SIGINT is ignored, and so it would be in all hubs here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the machine may be busy with something else.
settings.register_profile("hub", deadline=None, max_examples=100)
settings.load_profile("hub")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop is the one that the hub runs on."""
    return {"uvloop": uvloop.new_event_loop}


LONG = {"test_evidence.py", "test_many_channels.py", "test_benchmarks.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first: the last would keep all workers waiting."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """The events directory of the test's hub."""
    return tmp_path / "events"


class _Server(TestServer):
    """A test server whose connections are those of the hub."""

    async def _make_runner(self, **settings: Any) -> Runner:
        return Runner(self.app, **settings)


@pytest.fixture
async def start_hub(events: Path) -> AsyncIterator[StartHub]:
    """Starts a hub over `events` in this process; takes options, and the engine's arguments."""
    clients: list[Client] = []

    async def start(*, engine: FilesEngine | None = None, **values: object) -> Client:
        options = dataclasses.replace(Options(events=events), **values)  # type: ignore[arg-type]
        engine = engine or FilesEngine(options.events, options.durability, options.sync_interval)
        server = _Server(make_app(options, engine))
        client: Client = TestClient(server)
        await client.start_server()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
async def hub(start_hub: StartHub) -> Client:
    """A client of a hub with default options."""
    return await start_hub()


@pytest.fixture
def run_hub(events: Path, tmp_path: Path) -> Iterator[RunHub]:
    """Starts a hub as a process; takes the arguments of `hub serve`, and another directory."""
    processes: list[HubProcess] = []

    def run(*arguments: str, directory: Path = events) -> HubProcess:
        process = HubProcess(directory, tmp_path / f"hub-{len(processes)}.log", *arguments)
        processes.append(process)
        process.start()
        return process

    yield run
    for process in processes:
        if process.process is not None:
            process.kill()
