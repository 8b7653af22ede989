"""Pages of other origins, in headless Chromium, against a hub process.

Chromium's `EventSource` comes back with `Last-Event-ID` without asking first.
A page that sets the header itself, as npm's `fetch-event-source` does, makes
the browser send a preflight.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from ctypes.util import find_library
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright

from tests.conftest import RunHub
from tests.parts import CLIENTS, missing, require, require_clients
from tests.posting import Poster, Received, history, pass_heartbeats, post
from tests.process import PATIENCE, HubProcess, free_port, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGES = CLIENTS.parent / "pages"
LIBRARY = CLIENTS / "node_modules" / "@microsoft" / "fetch-event-source" / "lib" / "esm"

# Without a sandbox, as root in a container; and without calls to the outside.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

OpenPage = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    path = require("chromium")
    if find_library("atomic") is None:
        missing("Playwright needs Debian's libatomic1")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def origin() -> AsyncIterator[str]:
    """The origin of the test's own page: a web server that is not the hub."""

    async def page(request: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGES / "index.html")

    async def module(request: web.Request) -> web.FileResponse:
        name = f"{request.match_info['name']}.js"  # bundlers add the ending
        return web.FileResponse(LIBRARY / name, headers={"Content-Type": "text/javascript"})

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/client/{name}", module)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser, origin: str) -> AsyncIterator[OpenPage]:
    """Opens the page, from `origin` or from another name of the same server."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)

    async def start(origin: str = origin) -> Page:
        page = await context.new_page()
        await page.goto(f"{origin}/")
        await page.wait_for_function("window.ready")
        return page

    yield start
    await context.close()


@pytest.fixture
def hub(run_hub: RunHub, origin: str) -> HubProcess:
    """A hub that allows pages of `origin`, with many heartbeats."""
    return run_hub("--cors", origin, "--heartbeat", "0.2", "--retry", "50", "--access-log")


def stranger(origin: str) -> str:
    """Another origin of the same page: the same server by another name."""
    return origin.replace("127.0.0.1", "localhost")


async def follow(page: Page, url: str, by: str = "EventSource") -> None:
    """Follow a channel, connected."""
    await page.evaluate("([by, url]) => follow[by](url)", [by, url])
    await page.wait_for_function("states.includes('open')")


async def wait_for(page: Page, data: str) -> list[Received]:
    """Wait until the page has an event with this data; return all that it has."""
    await page.wait_for_function(
        "data => seen.some(each => each[1] === data)", arg=data, polling=20
    )
    return await events(page)


async def events(page: Page) -> list[Received]:
    """What the page has seen so far."""
    return [Received(*each) for each in await page.evaluate("seen")]


async def request(page: Page, url: str, **init: Any) -> dict[str, Any]:
    """What a page's `fetch` comes to: `status`, `body`, `id`, or `error`."""
    answer: dict[str, Any] = await page.evaluate("([url, init]) => request(url, init)", [url, init])
    return answer


def requests(hub: HubProcess) -> list[tuple[str, str, int]]:
    """Method, path and status of each request in the hub's access log."""
    found = re.findall(r'"([A-Z]+) (\S+) HTTP/1.1" (\d+)', hub.log)
    return [(method, path, int(status)) for method, path, status in found]


@pytest.mark.parametrize("by", ["EventSource", "fetchEventSource"])
async def test_every_event_once_through_restarts(
    hub: HubProcess, open_page: OpenPage, by: str
) -> None:
    if by == "fetchEventSource":
        require_clients()
    page = await open_page()
    await follow(page, f"{hub.url}/a-channel", by)
    with Poster(hub, "a-channel") as poster:
        for end in (hub.stop, hub.kill):
            count = 50 + len(await events(page))
            await page.wait_for_function("count => seen.length > count", arg=count, polling=20)
            end()
            await page.wait_for_function("states.at(-1) === 'error'")
            hub.start()
            await page.wait_for_function("states.at(-1) === 'open'")
    post(hub, "a-channel", "the end")
    seen = await wait_for(page, "the end")
    assert seen == history(hub, "a-channel")
    assert {*poster.acknowledged} <= {each.data for each in seen}
    if by == "fetchEventSource":
        assert ("OPTIONS", "/a-channel", 204) in requests(hub)


async def test_every_kind_of_event_arrives_and_heartbeats_do_not(
    hub: HubProcess, open_page: OpenPage
) -> None:
    page = await open_page()
    await follow(page, f"{hub.url}/a-channel")
    pass_heartbeats(hub, "a-channel")
    for event, data in (
        ("", "Some data"),
        ("type", "first\n  second, after spaces\n\n\ttab: colon"),
        ("größer", "日本語 \u2028 \x85 \f 🎉"),
        ("type", ""),
        ("", ": not a comment"),
        ("", "the end"),
    ):
        post(hub, "a-channel", data, event=event)
    await wait_for(page, "the end")
    pass_heartbeats(hub, "a-channel")
    seen = await events(page)
    assert seen == history(hub, "a-channel")
    assert seen[1].data.startswith("first\n  second")
    assert seen[2][:2] == ("größer", "日本語 \u2028 \x85 \f 🎉")
    assert await page.evaluate("states") == ["open"]


async def test_history_and_then_live(hub: HubProcess, open_page: OpenPage) -> None:
    with Poster(hub, "a-channel") as poster:
        wait_until(lambda: len(poster.acknowledged) > 100, "a history")
        page = await open_page()
        await follow(page, f"{hub.url}/a-channel?since=start")
    post(hub, "a-channel", "the end")
    assert await wait_for(page, "the end") == history(hub, "a-channel")


async def test_an_id_that_is_not_ascii_is_resumed_from(
    hub: HubProcess, open_page: OpenPage
) -> None:
    page = await open_page()
    await follow(page, f"{hub.url}/a-channel")
    post(hub, "a-channel", "before", id="größe: 日本")
    await wait_for(page, "before")
    hub.restart()
    post(hub, "a-channel", "after")
    assert await wait_for(page, "after") == history(hub, "a-channel")


async def test_an_unknown_id_is_told_by_hub_reset(hub: HubProcess, open_page: OpenPage) -> None:
    """The hub comes back over another directory: what the page has folded is worth nothing."""
    page = await open_page()
    await follow(page, f"{hub.url}/a-channel")
    post(hub, "a-channel", "lost", id="lost: 1")
    await wait_for(page, "lost")
    hub.stop()
    shutil.rmtree(hub.events)
    hub.events.mkdir()
    (hub.events / "a-channel.tsv").write_text("new-1\ttype\tone\nnew-2\t\ttwo\n")
    hub.start()
    lost, reset, *rest = await wait_for(page, "two")
    assert lost.data == "lost"
    assert reset.type == "hub-reset"
    assert rest == history(hub, "a-channel")


async def test_a_preflight_is_answered_by_origin(
    hub: HubProcess, open_page: OpenPage, origin: str
) -> None:
    url = f"{hub.url}/a-channel"
    post(hub, "a-channel", "Some data")
    headers = {"Last-Event-ID": "2026-11-20T11:40:10.793214Z"}
    page = await open_page(stranger(origin))
    assert await request(page, url, headers=headers) == {"error": "TypeError"}
    wait_until(lambda: ("OPTIONS", "/a-channel", 204) in requests(hub), "a preflight")
    assert ("GET", "/a-channel", 200) not in requests(hub)
    page = await open_page()
    assert (await request(page, url, headers=headers))["status"] == 200
    wait_until(lambda: requests(hub).count(("OPTIONS", "/a-channel", 204)) == 2, "another")


async def test_an_allowed_page_reads_and_writes(hub: HubProcess, open_page: OpenPage) -> None:
    page = await open_page()
    url = f"{hub.url}/a-channel"
    answer = await request(page, f"{url}?event=type", method="POST", body="Some data")
    assert answer["status"] == 201
    batch = await request(
        page,
        url,
        method="POST",
        body="1\n2\n",
        headers={"Content-Type": "application/x-ndjson"},  # not a simple request: a preflight
    )
    assert batch["status"] == 201
    first, *others = history(hub, "a-channel")
    assert first == Received("type", "Some data", answer["body"])
    assert [each.data for each in others] == ["1", "2"]
    read = await request(page, url)
    assert read["body"].split("\t")[0] == answer["body"]
    assert read["id"] == others[-1].id
    refused = await request(page, f"{hub.url}/a-channel?id=a%09b", method="POST", body="x")
    assert refused["status"] == 422
    assert "TAB" in refused["body"]


async def test_a_page_of_another_origin_neither_reads_nor_writes(
    hub: HubProcess, open_page: OpenPage, origin: str
) -> None:
    post(hub, "a-channel", "a secret")
    before = history(hub, "a-channel")
    url = f"{hub.url}/a-channel"
    page = await open_page(stranger(origin))
    assert await request(page, url) == {"error": "TypeError"}
    await page.evaluate("url => follow.EventSource(url)", f"{url}?since=start")
    await page.wait_for_function("states.includes('closed')")
    assert await events(page) == []
    # Each of these is sent without a preflight: only the hub can refuse it.
    text = {"Content-Type": "text/plain"}
    assert await request(page, url, method="POST", body="x", headers=text) == {"error": "TypeError"}
    opaque = await request(page, url, method="POST", body="x", mode="no-cors")
    assert opaque == {"status": 0, "body": "", "id": None}
    assert await page.evaluate("url => navigator.sendBeacon(url, 'x')", url)
    async with page.expect_navigation():
        await page.evaluate(
            """url => {
              const form = document.createElement('form')
              Object.assign(form, { method: 'POST', action: url, enctype: 'text/plain' })
              document.body.append(form)
              form.submit()
            }""",
            url,
        )
    answer = await page.inner_text("body")
    assert f"--cors {stranger(origin)}" in answer
    refused = ("POST", "/a-channel", 403)
    wait_until(lambda: requests(hub).count(refused) == 4, "each write is refused")
    assert history(hub, "a-channel") == before


async def test_without_cors_only_the_hubs_own_pages_write(
    run_hub: RunHub, browser: Browser, open_page: OpenPage
) -> None:
    hub = run_hub()
    url = f"{hub.url}/a-channel"
    page = await open_page()
    assert await request(page, url, method="POST", body="x") == {"error": "TypeError"}
    assert not (hub.events / "a-channel.tsv").exists()
    await page.goto(f"{hub.url}/")
    status = await page.evaluate(
        "url => fetch(url, {method: 'POST', body: 'x'}).then(a => a.status)", url
    )
    assert status == 201
