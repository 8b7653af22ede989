"""JSON as an answer."""

from __future__ import annotations

import gzip

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from hub.web.answers import as_json, as_known_json


def known(value: object, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): given for name, given in headers.items()}
    return as_known_json(make_mocked_request("GET", "/streams", headers=named), value)


def body_of(answer: web.Response) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def test_a_document() -> None:
    answer = as_json({"a": 1}, 201)
    assert (answer.status, answer.body) == (201, b'{"a":1}\n')
    assert answer.content_type == "application/json"


def test_a_document_that_is_asked_for_again() -> None:
    first = known({"a": 1})
    assert (first.status, first.body) == (200, b'{"a":1}\n')
    assert first.headers["Vary"] == "Accept, Accept-Encoding"
    again = known({"a": 1}, If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, None)
    assert again.headers["ETag"] == first.headers["ETag"]
    changed = known({"a": 2}, If_None_Match=first.headers["ETag"])
    assert (changed.status, changed.body) == (200, b'{"a":2}\n')


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_is_large_is_compressed(size: int) -> None:
    value = ["x" * size]
    packed, plain = known(value, Accept_Encoding="gzip"), known(value)
    assert "Content-Encoding" not in plain.headers
    if size < 1000:
        assert packed.headers == plain.headers
        return
    assert packed.headers["Content-Encoding"] == "gzip"
    assert msgspec.json.decode(gzip.decompress(body_of(packed))) == value
    assert packed.headers["ETag"] != plain.headers["ETag"]
    tag = packed.headers["ETag"]
    assert known(value, Accept_Encoding="gzip", If_None_Match=tag).status == 304
    assert known(value, If_None_Match=tag).status == 200
