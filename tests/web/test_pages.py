"""The web page: who gets it where, and what a browser lets it do."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest
from yarl import URL

from hub.web import pages
from tests.conftest import Client
from tests.web.streaming import commit, of_type
from tests.web.test_negotiation import BROWSERS
from tests.web.wire import NOT_PACKED, PACKED, get, post, refused, subscribe

FILES = Path(pages.__file__).parent / "ui"
PLACES = [
    "/",
    "/a-channel",
    "/never-written",
    "/a-channel?since=start",
    "/streams",
    "/streams/a-channel",
    "/streams/a/b",
    "/streams/_all",
    "/streams/join?streams=a,b",
    "/streams/category/a",
    "/consumers",
    "/consumers/one",
]
BROWSER = {"Accept": BROWSERS["Chrome"], **NOT_PACKED}


def policy(headers: Mapping[str, str]) -> dict[str, str]:
    """The directives of a content security policy."""
    text = headers["Content-Security-Policy"]
    return {name: rest for name, _, rest in (each.partition(" ") for each in text.split("; "))}


@pytest.mark.parametrize("place", PLACES)
async def test_a_browser_gets_the_page(hub: Client, place: str) -> None:
    page = (FILES / "index.html").read_bytes()
    async with hub.get(place, headers=BROWSER) as answer:
        assert (answer.status, await answer.read()) == (200, page)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        assert answer.headers["Cache-Control"] == "no-cache"
        tag = answer.headers["ETag"]
    async with hub.head(place, headers=BROWSER) as answer:
        assert (answer.status, answer.headers["ETag"]) == (200, tag)
        assert answer.content_length == len(page)
        assert await answer.read() == b""
    async with hub.get(place, headers={**BROWSER, "If-None-Match": tag}) as answer:
        assert (answer.status, answer.headers["ETag"], await answer.read()) == (304, tag, b"")


@pytest.mark.parametrize("accept", ["*/*", "application/x-ndjson", "application/json"])
@pytest.mark.parametrize("place", PLACES)
async def test_a_program_gets_data(hub: Client, place: str, accept: str) -> None:
    await post(hub, "/a-channel")
    await commit(hub, "a/b", *of_type("A"))
    body = {"handler": "(event, state) => state"}
    assert (await hub.put("/consumers/one/stream/_all", json=body)).status == 201
    async with hub.get(place, headers={"Accept": accept}) as answer:
        assert answer.status == 200
        assert answer.content_type != "text/html"
        # Caches must not give it to a browser, nor the page to a program.
        assert "Accept" in answer.headers["Vary"].split(", ")


async def test_what_a_browser_has_of_the_page_is_not_the_data(hub: Client) -> None:
    await post(hub, "/a-channel", "data")
    page, _ = await get(hub, Accept="text/html")
    data, body = await get(hub, If_None_Match=page.headers["ETag"])
    assert (data.status, body.endswith(b"\tdata\n")) == (200, True)
    page, _ = await get(hub, Accept="text/html", If_None_Match=data.headers["ETag"])
    assert page.status == 200


@pytest.mark.parametrize(
    "place",
    [
        "/a-channel?format=tsv",
        "/a-channel?format=ndjson",
        "/streams/a-channel?format=ndjson",
        "/streams/a-channel/from/1",
        "/streams/a-channel/backwards/1",
        "/streams/a-channel/version",
        "/query?types=A",
        "/health",
        "/metrics",
    ],
)
async def test_a_browser_gets_data_too(hub: Client, place: str) -> None:
    await post(hub, "/a-channel")
    async with hub.get(place, headers=BROWSER) as answer:
        assert answer.status == 200
        assert answer.content_type != "text/html"


async def test_a_format_in_the_url(hub: Client) -> None:
    await post(hub, "/a-channel", "data")
    as_tsv = {"Accept": "application/x-ndjson"}
    async with hub.get("/a-channel?format=tsv", headers=as_tsv) as answer:
        assert answer.content_type == "text/tab-separated-values"
    async with hub.get("/a-channel?format=ndjson") as answer:
        assert answer.content_type == "application/x-ndjson"
        document = await answer.read()
    async with hub.get("/streams/a-channel?format=ndjson") as answer:
        assert await answer.read() == document
    await refused(await hub.get("/a-channel?format=x"), 400, "invalid_request", "format", "tsv")
    await refused(await hub.get("/streams/a-channel?format=tsv"), 400, "invalid_request", "ndjson")


async def test_a_browser_is_told_of_names_that_cannot_be(hub: Client) -> None:
    await refused(await hub.get("/ab", headers=BROWSER), 400, "invalid_name")


async def test_a_subscription_tells_caches_whose_it_is(hub: Client) -> None:
    async with subscribe(hub, "/a-channel") as subscription:
        assert subscription.headers["Vary"] == "Accept"


async def test_every_file_of_the_page(hub: Client) -> None:
    files = [path for path in FILES.rglob("*") if path.is_file()]
    assert set(pages.assets()) == {str(path.relative_to(FILES)) for path in files}
    for path in files:
        place = f"/ui/{path.relative_to(FILES)}"
        content = path.read_bytes()
        async with hub.get(place, headers=NOT_PACKED) as answer:
            assert (answer.status, await answer.read()) == (200, content)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-cache"
            tag = answer.headers["ETag"]
        for known, status in ((tag, 304), (f"W/{tag}", 304), ('"x"', 200)):
            async with hub.get(place, headers={**NOT_PACKED, "If-None-Match": known}) as answer:
                assert answer.status == status
        async with hub.head(place, headers=NOT_PACKED) as answer:
            assert (answer.status, answer.content_length) == (200, len(content))


async def test_what_is_large_is_compressed(hub: Client) -> None:
    name, asset = max(pages.assets().items(), key=lambda each: each[1].packs)
    assert asset.packs
    async with hub.get(f"/ui/{name}", headers=PACKED, auto_decompress=False) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"].endswith("Accept-Encoding")
        assert gzip.decompress(await answer.read()) == asset.content
        tag = answer.headers["ETag"]
    async with hub.get(f"/ui/{name}", headers={**PACKED, "If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with hub.get(f"/ui/{name}", headers={**NOT_PACKED, "If-None-Match": tag}) as answer:
        assert (answer.status, answer.headers.get("Content-Encoding")) == (200, None)


@pytest.mark.parametrize(
    "path",
    ["x.js", "../pages.py", "%2e%2e/pages.py", "..%2Fpages.py", "/etc/passwd", "%2Fetc%2Fpasswd",
     "index.html/", "INDEX.HTML", "index.html%00", ".", "fold-worker.js%2F"],
)  # fmt: skip
async def test_nothing_else_is_there(hub: Client, path: str) -> None:
    url = URL(f"{hub.make_url('/ui/')}{path}", encoded=True)
    async with hub.session.get(url) as answer:
        assert answer.status in (404, 400)
        assert "import" not in await answer.text()


async def test_the_files_are_only_read(hub: Client) -> None:
    await refused(await hub.post("/ui/index.html", data=b"x"), 405, "method_not_allowed")
    await refused(await hub.put("/ui/index.html", data=b"x"), 405, "method_not_allowed")


async def test_browsers_find_an_icon_where_a_page_names_none(hub: Client) -> None:
    async with hub.get("/favicon.ico", headers=NOT_PACKED) as answer:
        assert (answer.status, answer.content_type) == (200, "image/svg+xml")
        assert await answer.read() == (FILES / "icon.svg").read_bytes()
        known = {**NOT_PACKED, "If-None-Match": answer.headers["ETag"]}
    assert (await hub.get("/favicon.ico", headers=known)).status == 304
    assert (await hub.head("/favicon.ico")).status == 200


@pytest.mark.parametrize("path", ["/ui", "/ui/"])
async def test_the_way_to_the_page(hub: Client, path: str) -> None:
    async with hub.get(path, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (308, "/")


async def test_the_page_runs_nothing_but_the_hubs_own_files(hub: Client) -> None:
    answer, _ = await get(hub, "/", Accept="text/html")
    found = policy(answer.headers)
    assert found["default-src"] == found["base-uri"] == found["frame-ancestors"] == "'none'"
    assert found["script-src"] == found["style-src"] == found["connect-src"] == "'self'"
    assert not any("unsafe" in each for each in found.values())
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"


def test_what_makes_code_of_text_can_reach_nothing() -> None:
    worker = pages.assets()[pages.WORKER]
    assert policy(worker.headers) == {"default-src": "'none'", "script-src": "'unsafe-eval'"}


def test_an_ending_of_which_nothing_is_known() -> None:
    with pytest.raises(KeyError, match="exe"):
        pages.Asset("x.exe", b"")
