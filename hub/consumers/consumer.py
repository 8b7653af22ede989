"""One consumer: a fold over a stream that goes on as long as the hub runs.

Owns what is served of it, its state and position, which are replaced together and
never in part, and what becomes of a batch that cannot be folded. Must not know files.

A batch is folded whole or not at all. If its k-th event cannot be, the events before
it are folded again as a batch of their own, and then that event as another: only alone
or as the first can an event stop the consumer. So the state that is served then is that
after the event before, also when the handler has changed it in place.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from itertools import count

from msgspec import Raw

from hub.consumers.checkpoint import Definition, Progress
from hub.consumers.messages import Fault, Why
from hub.consumers.pool import Pool, Work
from hub.consumers.source import OpenSource, Piece, Source
from hub.errors import Closing, HubError, LogUnavailable, SandboxFailed

FIRST_BATCH = 64
"""Events of a batch, at first."""

MOST_BATCH = 4096

SHORT_SECONDS = 0.02
"""A batch that takes less is followed by a larger one."""

LONG_SECONDS = 0.1
"""A batch that takes more is followed by a smaller one."""

BATCH_BYTES = 2 * 1024 * 1024
"""About how many bytes of documents are read at once, and are in a batch of more than one."""

LOOK_SECONDS = 5.0
"""Until a log is looked at without having been told: somebody may have appended by hand."""

REST_SECONDS = 0.005
"""Pause after the last event that there is, so that the next ones come as a batch."""

RETRY_SECONDS = 1.0
"""Until a read that failed is tried again, at first; each time it is doubled."""

MOST_RETRY_SECONDS = 60.0

logger = logging.getLogger(__name__)

_serials = count(1)


class Consumer:
    """A fold that runs in a task of its own from `start` to `stop`."""

    def __init__(
        self, definition: Definition, progress: Progress, pool: Pool, open_source: OpenSource
    ) -> None:
        self.definition = definition
        self.progress = progress
        self.folded = 0  # events, since the start
        self.removed = False
        self.saved = progress  # what its file holds, since when, and `folded` then
        self.saved_at = time.monotonic()
        self.saved_folded = 0
        self._pool = pool
        self._open_source = open_source
        self._serial = next(_serials)
        self._size = FIRST_BATCH
        self._document_bytes = 0.0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._source: Source | None = None

    @property
    def head(self) -> int | None:
        """The number of the last event of its stream; None if that was never opened."""
        return None if self._source is None else self._source.head()

    @property
    def running(self) -> bool:
        """Whether it is folding, or waits for events."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to fold, unless an error has stopped it."""
        if self.progress.error is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End the task; the state stays as it is."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def begin(self, definition: Definition, progress: Progress) -> None:
        """Be another consumer from now on. It must have been stopped."""
        self.definition = definition
        self.progress = self.saved = progress
        self._serial = next(_serials)
        self._size = FIRST_BATCH
        self._source = None
        self.wake()

    async def change(self) -> None:
        """Wait until state, position or error are others. Cancelling is safe."""
        await self._changed.wait()

    def wake(self) -> None:
        """Let everybody who waits for a change look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _run(self) -> None:
        pause = RETRY_SECONDS
        while True:
            before = self.progress
            try:
                self._source = await self._open_source(self.definition.stream)
                await self._follow(self._source)
                return
            except (LogUnavailable, SandboxFailed, Closing) as error:
                if self.progress is not before:
                    pause = RETRY_SECONDS
                logger.warning(
                    "consumer %s: %s; trying again in %g s",
                    self.definition.identifier,
                    error,
                    pause,
                )
            except HubError as error:
                self._halt(str(error))
                return
            except Exception as error:  # it must not end without anybody knowing
                logger.exception("consumer %s failed", self.definition.identifier)
                self._halt(f"the hub made a mistake: {error!r}")
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, MOST_RETRY_SECONDS)

    async def _follow(self, source: Source) -> None:
        """Fold until an event cannot be folded; while a batch is folded, the next is read."""
        ahead: asyncio.Task[Piece] | None = None
        try:
            while True:
                if ahead is None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_SECONDS):
                            await source.wait(self.progress.seen)
                    asked = self._most()
                    piece = await source.read(self.progress.seen, asked, BATCH_BYTES)
                else:
                    piece = await ahead
                    ahead = None
                enough = len(piece.documents) >= min(asked, FIRST_BATCH)
                behind = enough or piece.size >= BATCH_BYTES
                if behind and source.head() > piece.end:
                    asked = self._most()
                    ahead = asyncio.ensure_future(source.read(piece.end, asked, BATCH_BYTES))
                if not await self._fold(piece):
                    return
                if not behind:
                    await asyncio.sleep(max(REST_SECONDS, self._pool.rest))
        finally:
            if ahead is not None:
                ahead.cancel()
                ahead.add_done_callback(_pass_over)

    def _most(self) -> int:
        """How many events to read, so that a batch is cheap to hold."""
        if not self._document_bytes:
            return self._size
        return max(1, min(self._size, int(BATCH_BYTES / self._document_bytes)))

    async def _fold(self, piece: Piece) -> bool:
        """Fold a piece; return False when an event has stopped the consumer."""
        documents = piece.documents
        here, length = 0, len(documents)
        if length:
            self._document_bytes = piece.size / length
        ends: list[int] = []  # where batches have to end, the next one last
        while here < length:
            while ends and ends[-1] <= here:
                ends.pop()
            end = min(here + self._most(), ends[-1] if ends else length)
            fault = await self._fold_batch(piece, here, end)
            if fault is not None and fault.again and end - here == 1:
                logger.warning(
                    "consumer %s: event %d: %s; folding it once more",
                    self.definition.identifier,
                    piece.numbers[here],
                    fault.text,
                )
                fault = await self._fold_batch(piece, here, end)
            if fault is None:
                here = end
            elif fault.why is Why.HANDLER:
                self._halt(fault.text)
                return False
            elif end - here == 1 or (fault.at == 1 and fault.why in (Why.THROWN, Why.TIME)):
                self._halt(f"event {piece.numbers[here]}: {fault.text}")
                return False
            elif fault.at:
                ends += (here + fault.at, here + fault.at - 1)
            else:
                ends += range(end, here, -1)
        if piece.end > self.progress.seen:
            seen = self.progress
            self.progress = Progress(seen.position, piece.end, seen.state)
        return True

    async def _fold_batch(self, piece: Piece, begin: int, end: int) -> Fault | None:
        definition, before = self.definition, self.progress
        documents = piece.documents[begin:end]
        serial = next(_serials)
        reply = await self._pool.fold(
            Work(
                definition.identifier,
                self._serial,
                serial,
                definition.handler,
                before.state,
                documents,
            )
        )
        if reply.fault is not None:
            if reply.fault.why is Why.TIME:
                self._size = max(1, reply.fault.at // 2)
            return reply.fault
        number = piece.numbers[end - 1]
        self.progress = Progress(number, number, Raw(reply.state))
        self._serial = serial
        self.folded += len(documents)
        self.wake()
        self._adapt(len(documents), reply.seconds)
        return None

    def _adapt(self, size: int, seconds: float) -> None:
        if seconds > LONG_SECONDS:
            self._size = max(1, min(self._size, size) // 2)
        elif seconds < SHORT_SECONDS and size >= self._size:
            self._size = min(2 * self._size, MOST_BATCH)

    def _halt(self, error: str) -> None:
        was = self.progress
        logger.warning("consumer %s has stopped: %s", self.definition.identifier, error)
        self.progress = Progress(was.position, was.seen, was.state, error)
        self.wake()


def _pass_over(ahead: asyncio.Task[Piece]) -> None:
    """An error of what nobody waits for any more is nobody's."""
    if not ahead.cancelled():
        ahead.exception()
