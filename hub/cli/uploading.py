"""Sends lines to a channel, in batches: of what is there when the last one was stored.

Owns what becomes of lines in each form, and what is said of them when something goes
wrong in the middle. Must not know where they come from.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from hub.cli.terminal import count_text
from hub.errors import HubError, InvalidEvent
from hub.formats import CONTENT_TYPES, LINE_BREAK, NDJSON, TSV

if TYPE_CHECKING:
    from hub.client.connection import Connection

BATCH_BYTES = 2 * 1024 * 1024
"""About how much is sent at once."""

LINE_BYTES = 64 * 1024 * 1024
"""The longest line that is held; hubs take one of 1 MiB by default."""


class Form(StrEnum):
    """What a line is."""

    TEXT = "text"  # one event's data
    JSON = "json"  # the same, and JSON
    TSV = "tsv"  # id, type and data


class Stored(msgspec.Struct):
    """What was stored so far, as a hub says it."""

    count: int = 0
    first: str | None = None
    last: str | None = None


class Broken(Exception):
    """It went wrong in the middle; the text says how far it came."""


class Upload:
    """Lines on their way to one channel.

    `progress` is called with the bytes of lines that were stored.
    """

    def __init__(
        self,
        connection: Connection,
        channel: str,
        form: Form,
        event: str = "",
        identity: str = "",
        progress: Callable[[int], object] = lambda size: None,
    ) -> None:
        self.stored = Stored()
        self.lines = 0  # that were stored, or passed over
        self._under_way = 0  # lines of which that is not known
        self._connection = connection
        self._path = f"/{channel}"
        self._form = form
        self._head = f"{identity}\t{event}\t".encode()
        self._params = {"event": event or None, "id": identity or None}
        self._progress = progress

    def told(self) -> str:
        """How far it came, for a person."""
        count = self.stored.count
        text = f"{count_text(count, 'event')} {'was' if count == 1 else 'were'} stored"
        if self.lines:
            text += f", up to line {self.lines:,}"
        if self._under_way:
            text += f"; perhaps the next {self._under_way:,} too"
        return text

    async def send_all(self, pieces: AsyncIterable[bytes]) -> None:
        """Send all lines of a text that comes in pieces. Raises `Broken`."""
        rest: list[bytes] = []
        held = 0
        try:
            async for piece in pieces:
                end = piece.rfind(b"\n") + 1
                if end:
                    await self._send(b"".join([*rest, piece[:end]]))
                    rest, held = [], 0
                rest.append(piece[end:])
                held += len(rest[-1])
                if held > LINE_BYTES:
                    raise InvalidEvent(f"it has more than {LINE_BYTES} bytes", 1)
            if held:
                await self._send(b"".join([*rest, b"\n"]))
        except InvalidEvent as error:
            where = "" if error.line is None else f"line {self.lines + error.line}: "
            self._under_way = 0
            raise Broken(f"{where}{error.reason}; {self.told()}") from error
        except HubError as error:
            from hub.client.errors import Disconnected

            if not isinstance(error, Disconnected):
                self._under_way = 0
            raise Broken(f"{error}; {self.told()}") from error

    async def _send(self, lines: bytes) -> None:
        """Send whole lines: all are stored, or none."""
        count = lines.count(b"\n")
        body, params = lines, None
        if self._form is Form.JSON:
            params = self._params
        elif self._form is Form.TEXT:
            body = self._rows(lines)
        kind = CONTENT_TYPES[NDJSON if self._form is Form.JSON else TSV]
        self._under_way = count
        answer = await self._connection.request(
            "POST", self._path, params=params, headers={"Content-Type": kind}, body=body
        )
        self._under_way = 0
        self.lines += count
        told = msgspec.json.decode(answer.body, type=Stored)
        if told.count:
            self.stored.count += told.count
            self.stored.first = self.stored.first or told.first
            self.stored.last = told.last
        self._progress(len(lines))

    def _rows(self, lines: bytes) -> bytes:
        """Lines of data as lines of TSV. A CR within is a line break, one at the end of none."""
        if LINE_BREAK in lines:
            number = lines.count(b"\n", 0, lines.index(LINE_BREAK)) + 1
            raise InvalidEvent("it holds a VT (0x0B), which stands for a line break", number)
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n").replace(b"\r", LINE_BREAK)
        return self._head + lines[:-1].replace(b"\n", b"\n" + self._head) + b"\n"
