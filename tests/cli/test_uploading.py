"""Uploads: lines however they come, in batches of whole lines."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from hub.cli import uploading
from hub.cli.uploading import Broken, Form, Upload
from hub.client.connection import Connection
from tests.process import HubProcess


async def pieces_of(text: bytes, size: int) -> AsyncGenerator[bytes, None]:
    for at in range(0, len(text), size):
        yield text[at : at + size]


async def send(url: str, channel: str, text: bytes, size: int = 100) -> Upload:
    connection = Connection(url)
    sizes: list[int] = []
    try:
        upload = Upload(connection, channel, Form.TEXT, "t", progress=sizes.append)
        await upload.send_all(pieces_of(text, size))
    finally:
        await connection.close()
    assert sum(sizes) >= len(text)
    return upload


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_in_any_pieces(size: int, server: HubProcess) -> None:
    upload = await send(server.url, f"pieces-{size}", b"one\n\ntwo\nthree", size)
    assert (upload.stored.count, upload.lines) == (4, 4)
    lines = (server.events / f"pieces-{size}.tsv").read_bytes().split(b"\n")[:-1]
    assert [line.split(b"\t")[1:] for line in lines] == [
        [b"t", each] for each in (b"one", b"", b"two", b"three")
    ]


async def test_a_line_without_end_is_not_held(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(uploading, "LINE_BYTES", 1000)
    with pytest.raises(Broken, match="line 2: it has more than 1000 bytes; 1 event was stored"):
        await send(url, "endless", b"one\n" + b"x" * 5000)


async def test_a_hub_that_is_not_there() -> None:
    with pytest.raises(Broken, match=r"no hub answers at .*; 0 events were stored$"):
        await send("http://127.0.0.1:1", "nowhere", b"one\n")
