"""Which streams belong to a category."""

from __future__ import annotations

from hub.engines.files import FilesEngine
from hub.matcher import compile_matcher
from hub.streams import Streams
from hub.streams.categories import REMEMBERED, Categories
from tests.streams.writing import Writing

A = compile_matcher({"payload": {"type": "A"}})


async def test_whose_name_begins_so(engine: FilesEngine, writing: Writing) -> None:
    for name in ("orders-1", "orders/1", "orders", "ordersx-1", "other-1", "orders-", "orders.1"):
        if name != "orders-":
            await writing.commit(name, "A")
    await writing.post("orders-channel", "A")
    categories = Categories(engine)
    found = ["orders-1", "orders-channel", "orders/1"]
    assert sorted(categories.names("orders")) == found
    assert sorted(categories.names("order")) == []
    assert sorted(categories.names("other")) == ["other-1"]


async def test_new_ones_come_to_it(engine: FilesEngine, streams: Streams, writing: Writing) -> None:
    categories = Categories(engine)
    assert list(categories.names("orders")) == []
    await writing.commit("orders-1", "A")
    await writing.commit("orders-1", "A")
    await writing.post("orders-2x", "A")
    await streams.put("orders-empty", compile_matcher({"stream": "orders-empty"}))
    await writing.commit("orders-empty", "A")
    await streams.put("orders-derived", A)
    found = ["orders-1", "orders-2x", "orders-derived", "orders-empty"]
    assert sorted(categories.names("orders")) == found
    assert sorted(Categories(engine).names("orders")) == found
    await streams.remove("orders-derived")
    found.remove("orders-derived")
    assert sorted(categories.names("orders")) == found


async def test_what_is_remembered_is_bounded(engine: FilesEngine, writing: Writing) -> None:
    await writing.commit("orders-1", "A")
    categories = Categories(engine)
    for number in range(2 * REMEMBERED):
        categories.names(f"category{number}")
    assert len(categories._logs) == REMEMBERED
    assert list(categories.names("orders")) == ["orders-1"]
