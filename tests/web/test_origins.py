"""Which pages may read and write: cross-origin requests and their preflights."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.web.origins import ANY, Origins
from tests.conftest import Client, StartHub
from tests.web.wire import TSV, refused, rows, subscribe

PAGE = "https://page.example"
OTHER = "https://other.example"
NEVER = ["null", "https://page.example.evil.example", "http://page.example", "https://page.example:8443",
         "https://sub.page.example", "https://xpage.example", ""]  # fmt: skip


@pytest.fixture
async def open_hub(start_hub: StartHub) -> Client:
    """A hub that allows one origin."""
    return await start_hub(cors=(PAGE,))


def test_allowed_origins() -> None:
    origins = Origins([f"{PAGE}/", "HTTP://Localhost:3000"], "127.0.0.1")
    for each in (PAGE, PAGE.upper(), "http://localhost:3000"):
        assert origins.allows(each)
    for each in (*NEVER, OTHER, "http://localhost"):
        assert not origins.allows(each)
    assert Origins([ANY], "127.0.0.1").allows(OTHER)
    assert Origins([ANY], "127.0.0.1").allows("null")
    assert not Origins([], "127.0.0.1").allows(PAGE)


@pytest.mark.parametrize("origin", [*NEVER, OTHER])
async def test_a_write_of_another_page_is_refused(
    open_hub: Client, events: Path, origin: str
) -> None:
    # A simple request: a browser sends it without asking first.
    for headers in ({"Content-Type": "text/plain"}, TSV):
        answer = await open_hub.post(
            "/a-channel", data=b"7\t\tdata", headers={**headers, "Origin": origin}
        )
        told = "--cors '*'" if origin == "null" else f"--cors {origin},"
        await refused(answer, 403, "forbidden_origin", told)
        assert "Access-Control-Allow-Origin" not in answer.headers
    for method in ("PUT", "DELETE", "PATCH"):
        answer = await open_hub.request(method, "/a-channel", headers={"Origin": origin})
        assert answer.status == 403
    assert not rows(events)


async def test_a_write_of_an_allowed_page(open_hub: Client, events: Path) -> None:
    answer = await open_hub.post("/a-channel", data=b"data", headers={"Origin": PAGE})
    assert answer.status == 201
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert len(rows(events)) == 1


async def test_a_write_of_the_hubs_own_page(hub: Client) -> None:
    origin = f"http://{hub.host}:{hub.port}"
    answer = await hub.post("/a-channel", data=b"data", headers={"Origin": origin})
    assert answer.status == 201
    answer = await hub.post("/a-channel", data=b"data", headers={"Origin": f"{origin}1"})
    assert answer.status == 403


async def test_a_program_has_no_origin(open_hub: Client) -> None:
    answer = await open_hub.post("/a-channel", data=b"data")
    assert answer.status == 201
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_read_of_another_page_is_answered_but_not_shown(open_hub: Client) -> None:
    answer = await open_hub.get("/a-channel", headers={"Origin": OTHER})
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in answer.headers.getall("Vary")


@pytest.mark.parametrize("path", ["/a-channel", "/health", "/abc", "/a/b/c", "/a-channel?limit=x"])
async def test_an_allowed_page_can_read_every_answer(open_hub: Client, path: str) -> None:
    answer = await open_hub.get(path, headers={"Origin": PAGE})
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    for name in ("last-event-id", "etag", "content-range"):
        assert name in exposed
    assert "Origin" in answer.headers.getall("Vary")
    # EventSource without credentials needs none; with them, `*` would not do.
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_an_allowed_page_can_subscribe(open_hub: Client) -> None:
    async with subscribe(open_hub, "/a-channel", Origin=PAGE) as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == PAGE
    async with subscribe(open_hub, "/a-channel", Origin=OTHER) as stream:
        assert "Access-Control-Allow-Origin" not in stream.headers


async def test_every_origin(start_hub: StartHub) -> None:
    hub = await start_hub(cors=(ANY,))
    for origin in (PAGE, "null"):
        answer = await hub.post("/a-channel", data=b"data", headers={"Origin": origin})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (201, origin)


async def test_no_origin(hub: Client) -> None:
    answer = await hub.get("/a-channel", headers={"Origin": PAGE})
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer = await hub.options("/a-channel", headers={"Origin": PAGE})
    assert answer.status == 204
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("asked", ["GET", "POST"])
async def test_a_preflight(open_hub: Client, asked: str) -> None:
    headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": asked,
        "Access-Control-Request-Headers": "last-event-id,content-type",
    }
    answer = await open_hub.options("/a-channel", headers=headers)
    assert (answer.status, await answer.read()) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert asked in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert {"last-event-id", "content-type", "cache-control"} <= set(allowed.split(", "))
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert "Access-Control-Allow-Private-Network" not in answer.headers
    headers["Access-Control-Request-Private-Network"] = "true"
    answer = await open_hub.options("/a-channel", headers=headers)
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"


async def test_a_preflight_of_another_page(open_hub: Client) -> None:
    headers = {
        "Origin": OTHER,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
    }
    answer = await open_hub.options("/a-channel", headers=headers)
    assert answer.status == 204
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


BROWSER = {"Accept-Language": "en"}
NAMES = [
    # Where the hub listens, what it allows, the name that it is asked under, and whether it reads.
    ("127.0.0.1", (), "localhost:9000", True),
    ("127.0.0.1", (), "LOCALHOST", True),
    ("127.0.0.1", (), "app.localhost:9000", True),
    ("127.0.0.1", (), "127.0.0.1:9000", True),
    ("127.0.0.1", (), "127.1.2.3", True),
    ("127.0.0.1", (), "[::1]:9000", True),
    ("::1", (), "[::1]:9000", True),
    ("localhost", (), "localhost:9000", True),
    ("127.0.0.1", (), "rebound.example:9000", False),
    ("127.0.0.1", (), "localhost.rebound.example", False),
    ("127.0.0.1", (), "192.0.2.7:9000", False),
    ("127.0.0.1", (), "[::", False),
    ("127.0.0.1", (), "", False),
    ("127.0.0.1", (PAGE,), "page.example", True),
    ("127.0.0.1", (PAGE,), "Page.Example:8443", True),
    ("127.0.0.1", (PAGE,), "sub.page.example", False),
    ("127.0.0.1", (PAGE,), "localhost:9000", True),
    ("127.0.0.1", (ANY,), "rebound.example", True),
    ("0.0.0.0", (), "rebound.example:9000", True),
    ("192.0.2.7", (), "192.0.2.7:9000", True),
]


@pytest.mark.parametrize(("listens_on", "allowed", "name", "reads"), NAMES)
async def test_a_page_whose_name_was_pointed_here_reads_nothing(
    start_hub: StartHub, listens_on: str, allowed: tuple[str, ...], name: str, reads: bool
) -> None:
    """Between pages of one name no origin is told: that a browser asks must do."""
    hub = await start_hub(host=listens_on, cors=allowed)
    await hub.post("/a-channel", data=b"data")
    for path in ("/a-channel", "/streams/_all", "/health", "/ui/hub.js", "/streams"):
        for browser in (
            BROWSER,
            {"Accept-Language": ""},  # a page can empty it, but not leave it out
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Mode": "cors"},
        ):
            async with hub.get(path, headers={"Host": name, **browser}) as answer:
                assert answer.status == (200 if reads else 403), (path, browser)
        async with hub.get(path, headers={"Host": name}) as answer:
            assert answer.status == 200  # a program
    for path in ("/a-channel", "/streams/_all"):
        headers = {"Host": name, "Accept": "text/event-stream", **BROWSER}
        async with hub.get(path, headers=headers) as answer:
            assert answer.status == (200 if reads else 403)
    headers = {"Host": name, "Accept": "text/html", "Sec-Fetch-Mode": "navigate", **BROWSER}
    answer = await hub.get("/", headers=headers)
    if reads:
        assert answer.status == 200
    else:  # whoever opened the page is told what to do
        await refused(answer, 403, "forbidden_origin", "localhost", f"--cors http://{name}")


async def test_an_allowed_page_has_the_hub_under_any_name(open_hub: Client) -> None:
    for origin, status in ((PAGE, 200), (OTHER, 403)):
        headers = {"Host": "hub.example", "Origin": origin, **BROWSER}
        answer = await open_hub.get("/a-channel", headers=headers)
        assert answer.status == status
        assert ("Access-Control-Allow-Origin" in answer.headers) == (origin == PAGE)


@pytest.mark.parametrize(
    ("listens_on", "name", "own"),
    [
        ("127.0.0.1", "localhost:9000", True),
        ("127.0.0.1", "127.0.0.1:9000", True),
        ("localhost", "app.localhost", True),
        ("::1", "[::1]:9000", True),
        ("127.0.0.1", "rebound.example:9000", False),
        ("127.0.0.1", "192.0.2.7:9000", False),
        ("0.0.0.0", "hub.example:9000", True),
        ("192.0.2.7", "192.0.2.7:9000", True),
    ],
)
async def test_a_name_that_was_pointed_here_is_not_the_hubs_own(
    start_hub: StartHub, listens_on: str, name: str, own: bool
) -> None:
    hub = await start_hub(host=listens_on)
    headers = {"Host": name, "Origin": f"http://{name}"}
    answer = await hub.post("/a-channel", data=b"data", headers=headers)
    assert answer.status == (201 if own else 403)
    headers["Origin"] = "http://[nonsense"
    assert (await hub.post("/a-channel", data=b"data", headers=headers)).status == 403
    headers["Origin"] = f"http://x{name}"
    assert (await hub.post("/a-channel", data=b"data", headers=headers)).status == 403
