"""What is asked for, as a path and parameters."""

from __future__ import annotations

import pytest

from hub.client import InvalidRequest, Query
from hub.client.targets import Target, target_of, target_of_query, window


def test_what_a_read_is_of() -> None:
    assert target_of("a/b#c", None, None, None, None) == Target(
        "/streams/a%2Fb%23c", {"filter": None}
    )
    assert target_of(None, "a/b", None, None, None).path == "/streams/category/a%2Fb"
    joined = target_of(None, None, ["a", "b"], None, {"payload": {"n": 1}})
    assert joined == Target("/streams/join", {"streams": "a,b", "filter": '{"payload":{"n":1}}'})
    assert target_of(None, None, None, [["a", "T"]], None).params["selector"] == '[["a","T"]]'


def test_what_a_query_is_of() -> None:
    query = target_of_query(Query(types=["A,B"], tags=["c"])).params["query"]
    assert query == '{"items":[{"types":["A,B"],"tags":["c"]}]}'
    query = target_of_query(Query(tags=["c"])).params["query"]
    assert query == '{"items":[{"tags":["c"]}]}'
    assert target_of_query(Query(selector=["a"])).params["selector"] == '["a"]'
    with pytest.raises(InvalidRequest):
        target_of_query(Query(filter={"stream": "a"}))


def test_windows() -> None:
    assert window() == ""
    assert window(from_=-2, until="end", forwards=None) == "/from/-2/until/end"
    assert window(backwards=3) == "/backwards/3"
