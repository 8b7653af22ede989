"""What a client takes: who gets the page, and who gets data."""

from __future__ import annotations

import time

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from hub.web.negotiation import REMEMBERED_LENGTH, has_already, prefers_page, takes_gzip

BROWSERS = {
    "Chrome": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    "Firefox": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Lynx": "text/html, text/plain;q=0.9, text/sgml;q=0.5, */*;q=0.01",
}


def prefers(accept: str | None, path: str = "/a-channel") -> bool:
    headers = {} if accept is None else {"Accept": accept}
    return prefers_page(make_mocked_request("GET", path, headers=headers))


@pytest.mark.parametrize("accept", [*BROWSERS.values(), "text/html", "text/html;q=0.1"])
def test_who_prefers_the_page(accept: str) -> None:
    assert prefers(accept)
    assert not prefers(accept, "/a-channel?format=tsv")
    assert not prefers(f"text/event-stream,{accept}")


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",  # curl, fetch, requests, httpx
        "text/*",
        "text/tab-separated-values",
        "application/json, text/plain, */*",  # axios
        "text/event-stream",
        "text/event-stream, text/html",
        "text/html, */*",
        "text/html, application/x-ndjson",
        "text/html;q=0.5, application/x-ndjson;q=0.9",
        "text/html;q=0.5, text/*;q=0.6",
        "text/html;q=0",
        "text/html; q=0.000, */*",
        "text/html;q=x",
        "text/html;q=1.5",
        "text/html;q=",
        "text/htmlx",
        "application/xhtml+xml",
    ],
)
def test_who_gets_data(accept: str | None) -> None:
    assert not prefers(accept)


def test_the_most_specific_range_counts() -> None:
    every = "text/tab-separated-values;q=0.1, application/*;q=0.1, text/plain;q=0.1"
    assert prefers(f"text/html;q=0.2, {every}, */*;q=0.9")
    assert not prefers(f"text/html;q=0.05, {every}, */*;q=0.9")


def test_an_accept_that_is_long() -> None:
    long = "x/y," * REMEMBERED_LENGTH
    assert prefers(f"{long}text/html")
    assert not prefers(f"{long}text/html, */*")


@given(st.lists(st.sampled_from(["text/html", "*/*", ";", "q=", "0.5", ",", " ", "\t", "x", "/"])))
def test_any_accept_is_answered(parts: list[str]) -> None:
    prefers("".join(parts))


def test_programs_hardly_wait_for_it() -> None:
    request = make_mocked_request("GET", "/a-channel", headers={"Accept": "*/*"})
    start = time.perf_counter()
    for _ in range(10_000):
        prefers_page(request)
    assert time.perf_counter() - start < 0.5  # 50 µs each would be far too much already


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.00", False),
        ("br", False),
        ("", False),
        ("xgzip", False),
    ],
)
def test_gzip(given: str, taken: bool) -> None:
    request = make_mocked_request("GET", "/", headers={"Accept-Encoding": given})
    assert takes_gzip(request) is taken


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ('"a"', True),
        ('W/"a"', True),  # a proxy that compresses makes it weak
        ('"b", "a"', True),
        ('"b"', False),
        ("a", False),
        ("", False),
    ],
)
def test_what_the_client_has(given: str, known: bool) -> None:
    request = make_mocked_request("GET", "/", headers={"If-None-Match": given})
    assert has_already(request, '"a"') is known
