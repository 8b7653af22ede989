"""What a directory of events holds: opened by the hub's own engine, in this process.

A real process takes half a second to start; of what a crash may leave there are
thousands of states to look at.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from evidence.events import Document, payload_of
from hub.document import Draft
from hub.engines.files import FilesEngine
from hub.formats import NDJSON
from hub.options import Durability
from hub.storage.plan import Scope
from hub.storage.verification import Verification


class Found(Struct):
    """A directory as a hub finds it: all events by position, and what is wrong."""

    documents: dict[int, Document]
    committed: set[str]  # logs of documents
    damaged: dict[str, str]
    closed: set[str]
    derived: set[str]
    grave: dict[str, str]  # by log: what `hub verify` calls damage once the hub has gone
    position: int = 0  # of one more commit, made after all was read


def look(directory: Path, token: int) -> Found:
    """Open, read all, commit one event with a token to a stream of its own, close, verify.

    Without syncs: whatever the durability, files are read and mended in the same way.
    """
    return asyncio.run(_look(directory, token))


async def _look(directory: Path, token: int) -> Found:
    engine = FilesEngine(directory, Durability.OS)
    await engine.open()
    try:
        found = Found(await documents(engine), set(), {}, set(), set(engine.derived), {})
        for log in engine.logs():
            if log.format == NDJSON:
                found.committed.add(log.name)
            if log.damage:
                found.damaged[log.name] = log.damage
            if log.closed:
                found.closed.add(log.name)
        draft = Draft([payload_of(token, "Later")], ["Later"], f"later-{token}")
        found.position = (await engine.commit("later/x", draft)).position
    finally:
        await engine.close()
    for each in Verification(directory).run():
        if each.grave:
            found.grave[unquote(each.path.stem)] = f"{each.path}:{each.line}: {each.reason}"
    return found


async def documents(engine: FilesEngine) -> dict[int, Document]:
    """All events by position."""
    cursor = engine.cursor(Scope(), 1, await engine.settle())
    found: dict[int, Document] = {}
    while (part := await engine.read_order(cursor)) is not None:
        for at, line in part.each():
            found[at] = msgspec.json.decode(line)
    return found
