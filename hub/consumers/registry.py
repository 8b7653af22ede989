"""All consumers of a hub: which there are, their files, their beginning and end.

Owns that a consumer is on disk before anybody is told of it, and that its file is
replaced by one writer at a time. Must not know HTTP.

What a checkpoint holds is older than what is served, by a few seconds at most; after
a crash the events since are folded again from it, so each counts once in the state
that is served. No event costs a sync of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Raw

from hub.consumers.checkpoint import Checkpoints, Damaged, Definition, Progress, is_identifier
from hub.consumers.consumer import Consumer
from hub.consumers.messages import Limits
from hub.consumers.pool import Pool, Work
from hub.consumers.source import OpenSource
from hub.errors import (
    Closing,
    Conflict,
    HubError,
    InvalidHandler,
    InvalidName,
    TimedOut,
    TooLarge,
    TooManyConsumers,
    UnknownConsumer,
)
from hub.options import Options

CHECKPOINT_SECONDS = 10.0
"""After that long, what has been folded is on disk."""

CHECKPOINT_EVENTS = 100_000
"""Events after which that is so earlier."""

LOOK_SECONDS = 1.0
"""Between two looks which consumers need a checkpoint."""

CLOSE_SECONDS = 0.5
"""For the last checkpoints; what they do not hold is folded again."""

SHARE_SECONDS = 0.002
"""For each consumer that has something to do, each other one rests as long after a batch."""

EMPTY = Raw(b"{}")

END = -1
"""As the start of a consumer: behind the last event that there is."""

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Consumers:
    """The consumers of one hub."""

    def __init__(self, directory: Path, open_source: OpenSource, options: Options) -> None:
        self.closing = False
        self._open_source = open_source
        self._options = options
        self._checkpoints = Checkpoints(directory)
        self._pool = Pool(
            options.consumer_workers,
            Limits(
                options.consumer_seconds, options.consumer_memory_bytes, options.max_state_bytes
            ),
        )
        self._all: dict[str, Consumer] = {}
        self._files = asyncio.Lock()  # one change of files at a time
        self._changes: set[asyncio.Task[Any]] = set()
        self._keeper: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Consumer]:
        return iter(tuple(self._all.values()))

    async def start(self) -> None:
        """Let every consumer go on from its checkpoint. A damaged one stops nobody else.

        To be called before anything is written: what a power cut took from a log is then
        still missing.
        """
        for identifier, definition, progress in await asyncio.to_thread(self._read_all):
            if await self._is_ahead(definition, progress):
                logger.warning(
                    "consumer %s has folded events that are no longer there: it starts over",
                    identifier,
                )
                progress = _beginning(definition)
            self._add(identifier, definition, progress)
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    def end(self) -> None:
        """Send away everybody who waits for a consumer or follows one."""
        self.closing = True
        for each in self:
            each.wake()

    async def close(self) -> None:
        """Stop folding, and keep what was folded."""
        self.end()
        if self._keeper is not None:
            self._keeper.cancel()
        await asyncio.gather(*self._changes, return_exceptions=True)
        await asyncio.gather(*(each.stop() for each in self))
        await self._pool.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS), self._files:
                await asyncio.gather(*(self._save(each) for each in self if _is_dirty(each)))

    def find(self, identifier: str) -> Consumer:
        """A consumer. Raises `UnknownConsumer`."""
        found = self._all.get(identifier)
        if found is None:
            raise UnknownConsumer(f"there is no consumer {identifier!r}")
        return found

    async def put(
        self, identifier: str, stream: str, handler: str, state: Raw = EMPTY, start: int = 0
    ) -> tuple[Consumer, bool]:
        """Make a consumer, or make it anew; whether it is new. On return it is on disk.

        Raises `InvalidName`, `InvalidHandler`, `TooLarge`, `TooManyConsumers`,
        `LogUnavailable`, and what there is to say of the stream. Cancelling is safe: it
        is made whole or not at all.
        """
        check_identifier(identifier)
        self._check_room(identifier)
        size, limit = len(handler.encode(errors="replace")), self._options.max_handler_bytes
        if size > limit:
            raise TooLarge(f"the handler has {size} bytes; the limit is {limit}")
        source = await self._open_source(stream)
        if start == END:
            start = await source.settle()
        state = await self._tried(identifier, handler, state)
        definition = Definition(identifier, stream, start, handler, state)
        return await self._whole(self._put(definition))

    async def reset(
        self, identifier: str, state: Raw | None = None, start: int | None = None
    ) -> Consumer:
        """Let a consumer begin again; what is given counts from now on as if it had been put.

        Raises what `put` raises. Cancelling is safe.
        """
        was = self.find(identifier).definition
        if not was.handler:
            raise Conflict(f"the definition of consumer {identifier!r} is lost: put it again")
        if state is None:
            state = was.state
        if start is None:
            start = was.start
        consumer, _ = await self.put(identifier, was.stream, was.handler, state, start)
        return consumer

    async def remove(self, identifier: str) -> None:
        """Remove a consumer; on return that is on disk. Cancelling is safe."""
        self.find(identifier)
        await self._whole(self._remove(identifier))

    async def reach(self, identifier: str, number: int) -> Consumer:
        """Wait until a consumer has folded event `number`. Raises `TimedOut`."""
        consumer = self.find(identifier)
        seconds = self._options.read_timeout
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while consumer.progress.position < number and consumer.progress.error is None:
                    if self.closing:
                        raise Closing("the hub is shutting down")
                    await consumer.change()
                    self.find(identifier)
        position, error = consumer.progress.position, consumer.progress.error
        if position < number:
            reason = f"within {seconds:g} s" if error is None else f"and has stopped: {error}"
            raise TimedOut(
                f"consumer {identifier!r} did not reach version {number} {reason}; "
                f"it is at {position}"
            )
        return consumer

    def _check_room(self, identifier: str) -> None:
        if self.closing:
            raise Closing("the hub is shutting down")
        if identifier not in self._all and len(self._all) >= self._options.max_consumers:
            raise TooManyConsumers(
                f"there are {len(self._all)} consumers; the limit is {self._options.max_consumers}"
            )

    async def _tried(self, identifier: str, handler: str, state: Raw) -> Raw:
        """The state as the sandbox has it, which is made for that. Raises `InvalidHandler`."""
        size, limit = len(state), self._options.max_state_bytes
        if size > limit:
            raise TooLarge(f"the state has {size} bytes; the limit is {limit}")
        if "\0" in handler:
            raise InvalidHandler("the handler holds a NUL")
        reply = await self._pool.fold(Work(f"{identifier} tried", 0, 0, handler, state, ()))
        if reply.fault is not None:
            self._check_room(identifier)  # it may have been the hub that ended it
            raise InvalidHandler(f"the handler cannot be used: {reply.fault.text}")
        return Raw(reply.state)

    async def _whole(self, change: Coroutine[Any, Any, T]) -> T:
        """Let a change come to its end, also when nobody waits for it any more."""
        task = asyncio.get_running_loop().create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changed)
        return await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[Any]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # told to who waits, if anybody does

    async def _put(self, definition: Definition) -> tuple[Consumer, bool]:
        progress = _beginning(definition)
        identifier = definition.identifier
        async with self._files:
            self._check_room(identifier)
            await asyncio.to_thread(self._checkpoints.write, definition, progress)
            consumer = self._all.get(identifier)
            if consumer is None:
                return self._add(identifier, definition, progress), True
            await consumer.stop()
            consumer.begin(definition, progress)
            consumer.start()
            return consumer, False

    async def _remove(self, identifier: str) -> None:
        async with self._files:
            consumer = self.find(identifier)
            await asyncio.to_thread(self._checkpoints.remove, identifier)
            del self._all[identifier]
            await consumer.stop()
            consumer.removed = True
            consumer.wake()

    def _add(self, identifier: str, definition: Definition, progress: Progress) -> Consumer:
        consumer = Consumer(definition, progress, self._pool, self._open_source)
        self._all[identifier] = consumer
        consumer.start()
        return consumer

    async def _is_ahead(self, definition: Definition, progress: Progress) -> bool:
        """Whether events were folded that the stream does not have (any more)."""
        if progress.seen <= definition.start:
            return False
        try:
            source = await self._open_source(definition.stream)
            return progress.seen > await source.settle()
        except HubError:
            return False  # the consumer itself will say so

    def _read_all(self) -> list[tuple[str, Definition, Progress]]:
        try:
            return [(each, *self._read(each)) for each in self._checkpoints.identifiers()]
        except OSError as error:
            logger.error("the consumers cannot be read, and none of them runs: %s", error)
            return []

    def _read(self, identifier: str) -> tuple[Definition, Progress]:
        try:
            return self._checkpoints.read(identifier)
        except Damaged as damage:
            logger.error("the file of consumer %s is damaged: %s", identifier, damage)
            definition = damage.definition
            if definition is not None:
                logger.warning("consumer %s starts over from its definition", identifier)
                return definition, _beginning(definition)
            lost = Definition(identifier, "", 0, "", EMPTY)
            return lost, Progress(0, 0, EMPTY, f"its file is damaged: {damage}; put it again")

    async def _keep(self) -> None:
        """Write checkpoints from time to time, one after the other."""
        folded: dict[Consumer, int] = {}
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            busy = sum(each.folded != folded.get(each) for each in self)
            self._pool.rest = busy * SHARE_SECONDS
            folded = {each: each.folded for each in self}
            for each in filter(_is_due, self):
                try:
                    await self._whole(self._save_alone(each))
                except Exception:  # one that fails must not end it for all
                    logger.exception("consumer %s: no checkpoint", each.definition.identifier)

    async def _save_alone(self, consumer: Consumer) -> None:
        async with self._files:
            await self._save(consumer)

    async def _save(self, consumer: Consumer) -> None:
        definition, progress, folded = consumer.definition, consumer.progress, consumer.folded
        if consumer.removed:
            return
        try:
            await asyncio.to_thread(self._checkpoints.write, definition, progress, lasting=False)
        except HubError as error:
            logger.error("consumer %s: %s", definition.identifier, error)
            return  # the next look tries again
        consumer.saved, consumer.saved_folded = progress, folded
        consumer.saved_at = time.monotonic()


def check_identifier(identifier: str) -> str:
    """Return an identifier that a consumer can have; else raise `InvalidName`."""
    if not is_identifier(identifier):
        raise InvalidName(
            f"{identifier!r} cannot be the identifier of a consumer: "
            "1 to 100 letters, digits, '_' or '-' can"
        )
    return identifier


def _beginning(definition: Definition) -> Progress:
    return Progress(definition.start, definition.start, definition.state)


def _is_dirty(consumer: Consumer) -> bool:
    return consumer.progress is not consumer.saved


def _is_due(consumer: Consumer) -> bool:
    if not _is_dirty(consumer):
        return False
    return (
        consumer.progress.error != consumer.saved.error
        or consumer.folded - consumer.saved_folded >= CHECKPOINT_EVENTS
        or time.monotonic() - consumer.saved_at >= CHECKPOINT_SECONDS
    )
