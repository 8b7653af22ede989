"""The hub's page in headless Chromium. Whatever a test does, the page's console stays clean."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes.util import find_library
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from playwright.sync_api import Request as PageRequest

from tests.conftest import RunHub
from tests.parts import missing, require
from tests.process import PATIENCE, HubProcess
from tests.test_browser import ARGUMENTS

AWAY = (
    "net::ERR_CONNECTION_REFUSED",
    "net::ERR_INCOMPLETE_CHUNKED_ENCODING",
    "net::ERR_CONNECTION_RESET",
)
"""What Chromium itself says of a hub that is down; pages cannot keep it from that."""


class Window:
    """A tab of the browser, on one hub."""

    def __init__(self, page: Page, hub: HubProcess) -> None:
        self.page = page
        self.hub = hub
        self.complaints: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Parts of complaints that are no mistake in this test."""
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._see)

    def open(self, path: str) -> Page:
        """Go to a URL of the hub, as somebody who types it."""
        self.page.goto(self.hub.url + path)
        return self.page

    def run(self, script: str, argument: Any = None) -> Any:
        """What a function comes to in the page: it is given the module and an argument."""
        return self.page.evaluate(
            f"async (argument) => ({script})(await import('/ui/hub.js'), argument)", argument
        )

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _see(self, request: PageRequest) -> None:
        outside = urlsplit(request.url).scheme in ("http", "https", "ws", "wss")
        if outside and not request.url.startswith(f"{self.hub.url}/"):
            self.complaints.append(f"a request to {request.url}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium."""
    path = require("chromium")
    if find_library("atomic") is None:
        missing("Playwright needs Debian's libatomic1")
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def own_hub(run_hub: RunHub) -> HubProcess:
    """A hub that asks its readers to come back soon."""
    return run_hub("--retry", "50", "--heartbeat", "0.2", "--durability", "os")


@pytest.fixture
def window(chromium: Browser, own_hub: HubProcess) -> Iterator[Window]:
    """A tab of a fresh browser profile. In the end, the console must hold no complaint."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=False)
    context.set_default_timeout(PATIENCE * 1000)
    window = Window(context.new_page(), own_hub)
    yield window
    context.close()
    known = (*AWAY, *window.expected)
    assert not [each for each in window.complaints if not any(part in each for part in known)]
