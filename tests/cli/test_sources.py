"""What a name on the command line means."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hub.cli.sources import Part, Source, as_stream, find, find_there, number, read
from hub.client.connection import Connection
from hub.errors import InvalidName, InvalidRequest, UnknownStream
from tests.process import HubProcess
from tests.storage import damage


@pytest.fixture
async def connection(server: HubProcess) -> AsyncIterator[Connection]:
    if not server.events.joinpath("orders.tsv").exists():
        damage.write(server)
    connection = Connection(server.url)
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("order", Source("order", "/order", is_channel=True, is_there=False, format="tsv")),
        ("a/b", Source("a/b", "/streams/a%2Fb", is_there=False)),
        ("of-type-t1", Source("of-type-t1", "/streams/of-type-t1")),
        ("_all", Source("_all", "/streams/_all")),
        ("category/acc", Source("category/acc", "/streams/category/acc")),
        ("join?streams=a,b", Source("join?streams=a,b", "/streams/join", {"streams": "a,b"})),
        ("query?types=A%20B", Source("query?types=A%20B", "/query", {"types": "A B"})),
    ],
)
async def test_names(name: str, source: Source, connection: Connection) -> None:
    assert await find(connection, name) == source


async def test_channels_in_both_formats(connection: Connection, server: HubProcess) -> None:
    for name, form in (("orders", "tsv"), ("acc-1", "ndjson")):
        size = (server.events / f"{name}.{form}").stat().st_size
        found = await find_there(connection, name)
        assert found == Source(name, f"/{name}", is_channel=True, format=form, size=size)
        assert as_stream(found).path == f"/streams/{name}"


async def test_what_is_no_name_or_not_there(connection: Connection) -> None:
    with pytest.raises(InvalidName):
        await find(connection, "a b")
    with pytest.raises(UnknownStream):
        await find_there(connection, "order")


async def test_a_filter_stays_one(connection: Connection) -> None:
    source = await find(connection, 'category/acc?filter={"payload":{"n":1}}')
    pieces = [each async for each in read(connection, source, Part(), "ndjson")]
    assert b"".join(pieces).count(b"\n") == 5
    with pytest.raises(InvalidRequest, match="has one already"):
        [each async for each in read(connection, source, Part(event="T1"), "ndjson")]


@pytest.mark.parametrize("text", ["", "-1", "1.0", "x", "1" * 19, "٣"])
def test_numbers(text: str) -> None:
    assert number("17", "--since") == 17
    with pytest.raises(InvalidRequest, match="is a revision or position"):
        number(text, "--since")
