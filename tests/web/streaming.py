"""Streams as their clients use them: commits, and what is read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from tests.conftest import Client
from tests.web.wire import NOT_PACKED

Document = dict[str, Any]


def of_type(*types: str) -> list[Document]:
    """An event of each type, and no more in it."""
    return [{"type": each} for each in types]


async def commit(client: Client, stream: str, *events: Document, **rest: Any) -> Document:
    """Commit what is accepted; return the answer."""
    body = {"events": list(events), **rest}
    async with client.post(f"/streams/{quote(stream)}/commit", json=body) as answer:
        assert answer.status == 201, await answer.text()
        found = await answer.json()
    assert isinstance(found, dict)
    return found


async def read(client: Client, path: str, **query: Any) -> list[Document]:
    """The documents that a read gets; what of the query is no text goes as JSON."""
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()
    }
    async with client.get(path, params=texts, headers=NOT_PACKED) as answer:
        text = await answer.text()
        assert answer.status == 200, text
        assert answer.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
    return split(text)


def split(text: str) -> list[Document]:
    """The documents in NDJSON."""
    lines = text.split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def types(found: Iterable[Document]) -> str:
    """The types of documents, one after the other."""
    return "".join(each["payload"]["type"] for each in found)
