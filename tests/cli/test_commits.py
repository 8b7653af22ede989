"""Commits out of documents: however they are cut, numbers with their digits."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from hub.cli.commits import Commit, commits_of
from hub.errors import InvalidEvent
from tests import documents


async def read(text: bytes, size: int) -> list[Commit]:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for at in range(0, len(text), size):
            yield text[at : at + size]

    return [each async for each in commits_of(pieces())]


TEXT = documents.commit("a-log", 0, b'{"n":1.10}', b'{"n":2}') + documents.commit("a-log", 2, b"{}")


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_in_any_pieces(size: int) -> None:
    found = await read(TEXT, size)
    assert [each.payloads for each in found] == [[b'{"n":1.10}', b'{"n":2}'], [b"{}"]]
    assert sum(each.size for each in found) == len(TEXT)
    assert found[0].body(7) == b'{"events":[{"n":1.10},{"n":2}],"expectedVersion":7}'


async def test_metadata_of_the_user() -> None:
    line = b'{"stream":"s","payload":{},"metadata":{"id":"x","user":"ann","n":1.0}}\n'
    (found,) = await read(line, 100)
    assert found.metadata == b'{"user":"ann","n":1.0}'
    assert found.body(0).endswith(b'"metadata":{"user":"ann","n":1.0}}')


async def test_events_that_are_missing() -> None:
    lines = TEXT.split(b"\n")
    with pytest.raises(InvalidEvent, match="line 2: events of its commit are missing"):
        await read(b"\n".join([lines[0], lines[2], b""]), 100)
    with pytest.raises(InvalidEvent, match="line 1: its commit is not whole"):
        await read(lines[0] + b"\n", 100)
