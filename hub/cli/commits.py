"""Commits in documents, to be made again elsewhere.

Owns what of a document a commit can keep: the payload, the user's metadata, and which
events belong together. The id, the time and the id of the commit are the hub's own, and
new. Must not know where documents come from or go to.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from msgspec import Raw, Struct

from hub.commit import members_of
from hub.document import OWN_METADATA, metadata_of, parts_of
from hub.errors import InvalidEvent
from hub.formats import NOT_JSON


class Commit(Struct, frozen=True):
    """Events that were committed together: JSON objects. `size`: bytes of their lines."""

    payloads: list[bytes]
    metadata: bytes
    size: int

    def is_like(self, other: Commit) -> bool:
        """Whether the events are the same."""
        return self.payloads == other.payloads and self.metadata == other.metadata

    def body(self, version: int) -> bytes:
        """What commits it to a stream that has this version."""
        metadata = b"" if self.metadata == b"{}" else b',"metadata":' + self.metadata
        return b'{"events":[%b],"expectedVersion":%d%b}' % (
            b",".join(self.payloads),
            version,
            metadata,
        )


async def commits_of(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[Commit, None]:
    """The commits in documents that come in pieces. Raises `InvalidEvent`, naming the line."""
    from hub.client.lines import whole_lines

    payloads: list[bytes] = []
    number = size = 0
    metadata = b""
    async with aclosing(whole_lines(pieces)) as chunks:
        async for chunk in chunks:
            for line in chunk.split(b"\n")[:-1]:
                number += 1
                try:
                    place = metadata_of(line)
                    parts = parts_of(line)
                    payload = msgspec.json.format(parts.payload, indent=-1)
                    own = _own_metadata(parts.metadata)
                except NOT_JSON as error:
                    raise InvalidEvent(f"it is not a document: {error}", number) from None
                if place.commit_version != len(payloads) or (payloads and own != metadata):
                    raise InvalidEvent("events of its commit are missing", number)
                payloads.append(payload)
                metadata = own
                size += len(line) + 1
                if len(payloads) == place.commit_size:
                    yield Commit(payloads, metadata, size)
                    payloads, size = [], 0
    if payloads:
        raise InvalidEvent("its commit is not whole", number)


def _own_metadata(metadata: Raw) -> bytes:
    """The members that a user gave."""
    members = members_of(metadata)
    return msgspec.json.encode({k: v for k, v in members.items() if k not in OWN_METADATA})
