"""Posting events: what is answered, and what stands in the file."""

from __future__ import annotations

from pathlib import Path

from hub.event import time_of
from tests.conftest import Client


async def test_post_answers_201_with_the_id(hub: Client, events: Path) -> None:
    answer = await hub.post("/a-channel?event=type", data=b"Some data\n")
    assert answer.status == 201
    identity = await answer.text()
    assert time_of(identity) is not None
    line = (events / "a-channel.tsv").read_text()
    assert line == f"{identity}\ttype\tSome data\n"


async def test_history_is_the_file(hub: Client, events: Path) -> None:
    for data in (b"one", b"two\nlines", b"\xc3\xa4\ttab", b""):
        assert (await hub.post("/a-channel", data=data)).status == 201
    answer = await hub.get("/a-channel")
    body = await answer.read()
    assert body == (events / "a-channel.tsv").read_bytes()
    assert answer.headers["Content-Length"] == str(len(body))
    assert body.count(b"\n") == 4
