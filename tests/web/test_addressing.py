"""What a path and its parameters mean, for reads and for consumers alike."""

from __future__ import annotations

import pytest
from multidict import MultiDict

from hub.errors import InvalidRequest, UnknownStream
from hub.streams import View
from hub.web.addressing import check_one_of, filter_of, names_in, view_of
from hub.web.context import HUB
from tests.conftest import Client


async def meant(hub: Client, path: str, **given: str) -> View:
    streams = hub.app[HUB].streams
    return await view_of(streams, path.split("/"), MultiDict(given))


async def test_what_is_meant(hub: Client) -> None:
    assert (await hub.post("/streams/category/commit", json={"events": [{}]})).status == 201
    assert (await meant(hub, "_all")).name == "_all"
    assert (await meant(hub, "category")).name == "category"  # a stream of this name
    assert (await meant(hub, "category/orders/eu")).name == "category/orders/eu"
    assert (await meant(hub, "join", streams=" a, b")).name == "join"
    assert (await meant(hub, "join", selector='["a"]')).name == "join"
    with pytest.raises(InvalidRequest, match="a join needs"):
        await meant(hub, "join")
    assert (await hub.post("/streams/join/commit", json={"events": [{}]})).status == 201
    assert type(await meant(hub, "join")) is type(await meant(hub, "category"))


async def test_the_same_is_the_same_view(hub: Client) -> None:
    keys = {
        (await meant(hub, "join", streams="a,b")).key,
        (await meant(hub, "join", selector='["b","a"]')).key,
    }
    assert len(keys) == 1
    filtered = (await meant(hub, "join", streams="a,b", filter='{"stream":"a"}')).key
    assert filtered not in keys


async def test_what_means_nothing(hub: Client) -> None:
    with pytest.raises(UnknownStream, match="nowhere"):
        await meant(hub, "nowhere")
    for given in ({"streams": ","}, {"streams": "a", "selector": '"a"'}, {"filter": "x"}):
        with pytest.raises(InvalidRequest):
            await meant(hub, "join", **given)


def test_parameters() -> None:
    assert names_in(["a, b", ",c,"]) == ["a", "b", "c"]
    assert filter_of(MultiDict({"filter": ""})) is None
    check_one_of(MultiDict({"a": "1"}), "a", "b")
    with pytest.raises(InvalidRequest, match="'a' and 'b'"):
        check_one_of(MultiDict({"a": "1", "b": "2"}), "a", "b")
