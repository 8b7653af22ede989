"""Subscriptions: cursors in logs, not queues.

Owns who follows which log, the fan-out of what is committed, and the catching
up of those who fell behind. Must not know HTTP: a subscriber is a transport
that bytes can be written to, and a coroutine that waits until it takes more.

A subscriber that has caught up is *live*: each committed group is framed once
and the same bytes go to every one of them. One whose transport is still full
gets no copy: it is *behind*, its cursor stays, and its own task serves it from
the file. Between the check that a cursor is at the end of the log and the
entry into the list of live ones nothing is awaited, so the seam has no gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Protocol

from hub import sse
from hub.blocks import Block, Blocks
from hub.engines.base import BLOCK, Committed, Engine
from hub.errors import Busy
from hub.formats import Row
from hub.lines import lines_of_format

logger = logging.getLogger(__name__)

BACKLOG = 64 * 1024
"""Bytes waiting in a transport above which a subscriber counts as behind."""

LOOK_SECONDS = 1.0
"""Between two looks whether somebody appended by hand to a log that is followed."""

SLICE = 128
"""Subscribers that are written to before other work has its turn."""

GROUPS_HELD = 64
"""Groups on their way to subscribers that are held in memory."""

TOGETHER = 64 * 1024
"""Bytes of frames from which on the next group is written by itself."""

BEHIND_BYTES = 64 * 1024 * 1024
"""Of logs, on their way to all subscribers that are behind: shared among them."""

SLOW_BLOCK = 16 * 1024
"""Bytes that each of them may have on their way in any case."""


class Transport(Protocol):
    """The part of `asyncio.WriteTransport` that a subscription uses."""

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def is_closing(self) -> bool: ...


class Subscription:
    """One reader of one log. `run` serves it until it is ended."""

    __slots__ = ("_drain", "_left", "_subscriptions", "name", "only", "place", "transport")

    def __init__(
        self,
        subscriptions: Subscriptions,
        name: str,
        only: bytes | None,
        place: int,
        transport: Transport,
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        self._subscriptions = subscriptions
        self.name = name
        self.only = only
        self.place = place
        self.transport = transport
        self._drain = drain
        self._left: asyncio.Future[None] | None = None  # set while live

    async def run(self) -> None:
        """Serve events from the cursor on until the hub closes.

        Cancel it when the reader has gone; that is safe at any time. Raises
        `ConnectionError` if the transport is lost while it is behind.
        """
        subscriptions = self._subscriptions
        try:
            while not subscriptions.closing:
                await self._drain()
                end = subscriptions.end(self.name)
                if self.place < end:
                    frames, self.place = await subscriptions.block(self, end)
                    if self.transport.is_closing():
                        return
                    if frames:
                        self.transport.write(frames)
                    else:
                        await asyncio.sleep(0)  # what is held comes without waiting
                    continue
                self._left = asyncio.get_running_loop().create_future()
                subscriptions.enter(self)
                await self._left
                self._left = None
        finally:
            subscriptions.leave(self)

    @property
    def live(self) -> bool:
        """Whether it has caught up."""
        return self._left is not None and not self._left.done()

    def fall_behind(self, place: int) -> None:
        """Go on from `place`, from the file."""
        self.place = place
        self.wake()

    def wake(self) -> None:
        """Let `run` look again."""
        if self._left is not None and not self._left.done():
            self._left.set_result(None)


class _Audience:
    """The live subscribers of one log and type, in the order in which they came."""

    __slots__ = ("members", "next")

    def __init__(self) -> None:
        self.members: dict[Subscription, None] = {}
        self.next: _Sending | None = None  # for all of them, and no one has got it yet


class _Sending:
    """Committed groups on their way: of a log from `start` on, as frames or from the file."""

    __slots__ = ("audience", "frames", "left", "size", "start")

    def __init__(self, audience: _Audience, start: int, frames: bytes | None) -> None:
        self.audience = audience
        self.start = start
        self.frames = None if frames is None else [frames]
        self.size = 0 if frames is None else len(frames)
        self.left = iter(tuple(audience.members))

    def begin(self) -> bytes | None:
        """All frames, as one object for everybody."""
        if self.audience.next is self:
            self.audience.next = None
        if self.frames is None:
            return None
        if len(self.frames) > 1:
            self.frames = [b"".join(self.frames)]
        return self.frames[0]


def _shared_out(
    rows: list[Row], audiences: Mapping[bytes | None, _Audience]
) -> Iterator[tuple[_Audience, list[Row]]]:
    """What there is for each audience for which there is something."""
    everything = audiences.get(None)
    if everything is not None:
        yield everything, rows
    if len(audiences) > (everything is not None):
        typed: dict[bytes, list[Row]] = {}  # in one pass, however many types are followed
        for row in rows:
            if row[1] in audiences:
                typed.setdefault(row[1], []).append(row)
        for only, own in typed.items():
            yield audiences[only], own


class Subscriptions:
    """All subscriptions of one hub."""

    def __init__(self, engine: Engine, heartbeat: float) -> None:
        self._engine = engine
        self._heartbeat = heartbeat
        # By log, then by event type (None: all): dictionaries keep their order.
        self._live: dict[str, dict[bytes | None, _Audience]] = {}
        self._open: set[Subscription] = set()
        self._blocks = Blocks(engine, lambda: self.behind_count)
        self._tickers: list[asyncio.Task[None]] = []
        self._sending: deque[_Sending] = deque()
        self._sender: asyncio.Task[None] | None = None
        self.closing = False
        self.live_count = 0
        self._others = 0  # open subscriptions of other things than channels
        engine.on_commit.append(self.publish)

    def __len__(self) -> int:
        return len(self._open) + self._others

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count one that somebody else serves: of a stream, of a consumer."""
        self._others += 1
        try:
            yield
        finally:
            self._others -= 1

    @contextmanager
    def waiting(self, limit: int) -> Iterator[None]:
        """Count a request that waits. Raises `Busy` if there are `limit` already."""
        count = len(self)
        if count >= limit:
            raise Busy(f"{count} requests wait or follow something; that is the limit: try again")
        with self.counted():
            yield

    @property
    def behind_count(self) -> int:
        """How many subscribers are being served from files."""
        return len(self._open) - self.live_count

    def start(self) -> None:
        """Begin to send heartbeats, and to look after what is followed."""
        loop = asyncio.get_running_loop()
        self._tickers = [
            loop.create_task(self._every(self._heartbeat, self._beat)),
            loop.create_task(self._every(LOOK_SECONDS, self._look)),
        ]

    def close(self) -> None:
        """End every subscription; each `run` returns soon after."""
        self.closing = True
        for ticker in self._tickers:
            ticker.cancel()
        for each in tuple(self._open):
            each.wake()

    def add(
        self,
        name: str,
        only: str | None,
        place: int,
        transport: Transport,
        drain: Callable[[], Awaitable[None]],
    ) -> Subscription:
        """A subscription that begins at `place`; the caller runs it."""
        event = None if only is None else only.encode()
        subscription = Subscription(self, name, event, place, transport, drain)
        self._open.add(subscription)
        return subscription

    def end(self, name: str) -> int:
        """The place behind the last event of a log, 0 if it was never written."""
        log = self._engine.find(name)
        return 0 if log is None else log.length

    def enter(self, subscription: Subscription) -> None:
        """Count a subscriber as live. Its cursor must be at the end of its log."""
        audiences = self._live.setdefault(subscription.name, {})
        audience = audiences.setdefault(subscription.only, _Audience())
        audience.members[subscription] = None
        audience.next = None  # is not for this one
        self.live_count += 1
        self._blocks.shed()

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscriber."""
        self._unlive(subscription)
        self._open.discard(subscription)
        self._blocks.shed()

    def publish(self, commit: Committed) -> None:
        """Send a committed group to the live subscribers of its log.

        Groups that come while others are on their way are written together: the
        more there is to do, the less each costs.
        """
        audiences = self._live.get(commit.log.name)
        if not audiences:
            return
        rows = None
        if commit.lines is not None and len(self._sending) < GROUPS_HELD:
            rows = lines_of_format(commit.log.format, self._engine.keys).rows(commit.lines)
        if rows is None:
            for audience in audiences.values():
                self._send(audience, commit.start, None)
        else:
            for audience, own in _shared_out(rows, audiences):
                # With many groups on their way, reading the file costs less than holding them.
                held = len(self._sending) < GROUPS_HELD
                self._send(audience, commit.start, sse.frames(own) if held else None)
        if self._sender is None and not self._send_some():
            self._sender = asyncio.get_running_loop().create_task(self._send_rest())

    def _send(self, audience: _Audience, start: int, frames: bytes | None) -> None:
        waiting = audience.next
        if frames is not None and waiting is not None and waiting.size < TOGETHER:
            assert waiting.frames is not None  # noqa: S101 - what comes from the file is no `next`
            waiting.frames.append(frames)
            waiting.size += len(frames)
            return
        sending = _Sending(audience, start, frames)
        audience.next = None if frames is None else sending
        self._sending.append(sending)

    def _send_some(self) -> bool:
        """Write to the next `SLICE` subscribers; return whether nothing is left to send."""
        left = SLICE
        while self._sending:
            sending = self._sending[0]
            frames = sending.begin()
            for each in islice(sending.left, left):
                left -= 1
                # One that has entered since is behind these events, and must not get them twice.
                if each.place > sending.start or not each.live or each.transport.is_closing():
                    continue
                if frames is None or each.transport.get_write_buffer_size() > BACKLOG:
                    self._unlive(each)
                    each.fall_behind(sending.start)
                else:
                    each.transport.write(frames)
            if not left:
                return False
            self._sending.popleft()
        return True

    async def _send_rest(self) -> None:
        try:
            while True:
                await asyncio.sleep(0)
                if self._send_some():
                    return
        finally:
            self._sender = None

    async def block(self, subscription: Subscription, end: int) -> Block:
        """The next frames for a subscriber that is behind, and the place after them."""
        each = subscription
        return await self._blocks.read(each.name, each.only, each.place, end, self._block_size())

    def _block_size(self) -> int:
        # One of a few sizes, so that those who catch up side by side have the same.
        size = BLOCK
        while size > SLOW_BLOCK and size * self.behind_count > BEHIND_BYTES:
            size //= 2
        return size

    def _unlive(self, subscription: Subscription) -> None:
        audiences = self._live.get(subscription.name)
        audience = audiences.get(subscription.only) if audiences else None
        if audiences is None or audience is None or subscription not in audience.members:
            return
        del audience.members[subscription]
        self.live_count -= 1
        if not audience.members:
            del audiences[subscription.only]
            if not audiences:
                del self._live[subscription.name]

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception:  # one that fails must not end it for all
                logger.exception("subscriptions: %s failed", work.__name__)

    async def _look(self) -> None:
        """Look whether somebody appended by hand to what is followed."""
        for at, name in enumerate(tuple(self._live)):
            await self._engine.look(name)
            if at % SLICE == SLICE - 1:
                await asyncio.sleep(0)

    async def _beat(self) -> None:
        """Send every live subscriber a comment, so that proxies keep it open."""
        for at, each in enumerate(tuple(self._open)):
            transport = each.transport
            idle = each.live and not transport.is_closing()
            if idle and not transport.get_write_buffer_size():
                transport.write(sse.HEARTBEAT)
            if at % SLICE == SLICE - 1:
                await asyncio.sleep(0)
