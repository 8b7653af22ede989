"""A hub for the commands of one module: started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.process import HubProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub that all tests of a module share: each takes names of its own."""
    place = tmp_path_factory.mktemp("hub")
    hub = HubProcess(place / "events", place / "log", "--durability", "os", "--retry", "50")
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture
def url(server: HubProcess) -> str:
    return server.url
