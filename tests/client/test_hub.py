"""The class as a whole, and that it brings no server with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hub import client
from hub.client import ClientClosed, Hub, errors
from tests.process import HubProcess

_SERVER = "hub.web hub.storage hub.engines hub.consumers hub.cli uvloop quickjs aiofiles"
_FORBIDDEN = {*_SERVER.split(), "prometheus_client", "click", "rich"}


@pytest.mark.parametrize("module", ["hub.client", "hub.client.sync"])
def test_importing_the_client_does_not_import_the_server(module: str) -> None:
    code = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & _FORBIDDEN


def test_the_guide_has_every_method_and_every_error_of_the_client() -> None:
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    listed = re.findall(r"`(\w+)`", page.partition("## All methods")[2])
    methods = {name for name in dir(client.Hub) if not name.startswith("_")}
    assert sorted(listed) == sorted(methods - {"url"})
    for name, each in vars(errors).items():
        if isinstance(each, type) and each.__module__ == errors.__name__:
            assert f"`{name}`" in page


async def test_it_is_usable_without_with_and_closed_more_than_once(server: HubProcess) -> None:
    hub = Hub(server.url + "/")
    assert hub.url == server.url
    assert (await hub.health())["status"] == "ok"
    await hub.close()
    await hub.close()
    with pytest.raises(ClientClosed, match="was closed"):
        await hub.publish("orders", "1")


async def test_one_that_was_never_used_can_be_closed() -> None:
    async with Hub("http://localhost:9000"):
        pass
