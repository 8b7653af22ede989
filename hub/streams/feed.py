"""Subscriptions of streams: those who have caught up are served together.

Owns who follows which view, and what is read and framed once for all of them. A
follower that has caught up is *live*: it gets the same bytes as the others. One
whose transport is full, or that has yet to catch up, is *behind*: its own task
serves it from what is stored. Must not know HTTP: a follower is a transport, and
a coroutine that waits until it takes more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice

from hub import sse
from hub.errors import HubError
from hub.streams.framing import Framed, Framer
from hub.streams.views import View
from hub.subscription import BACKLOG, SLICE, Transport

REMEMBERED = 32
"""Pieces kept for others who come to the same place."""

logger = logging.getLogger(__name__)


class Follower:
    """One reader of a view that begins behind number `place`. `run` serves it."""

    def __init__(
        self,
        feed: Feed,
        view: View,
        place: int,
        transport: Transport,
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        self._feed = feed
        self._view = view
        self.place = place
        self.transport = transport
        self._drain = drain
        self._left: asyncio.Future[None] | None = None  # set while live

    async def run(self) -> None:
        """Serve documents until the hub closes.

        Cancel it when the reader has gone; that is safe at any time. Raises
        `ConnectionError` if the transport is lost while it is behind, and what
        reading raises.
        """
        feed, view = self._feed, self._view
        while not feed.closing and not self.transport.is_closing():
            await self._drain()
            head = await view.settle()
            if self.place < head:
                piece = await feed.after(view, self.place, head)
                self.place = piece.end
                if piece.frames and not self.transport.is_closing():
                    self.transport.write(piece.frames)
                continue
            group = feed.group(view, self.place)
            self._left = asyncio.get_running_loop().create_future()
            group.members[self] = None
            try:
                await self._left
            finally:
                self._left = None
                group.members.pop(self, None)
                if not group.members:
                    feed.dissolve(view, group)

    @property
    def live(self) -> bool:
        """Whether it has caught up."""
        return self._left is not None and not self._left.done()

    def wake(self) -> None:
        """Let `run` look again, from its own place."""
        if self._left is not None and not self._left.done():
            self._left.set_result(None)


class Group:
    """The live followers of one view. All of them have seen what there is up to `place`."""

    def __init__(self, feed: Feed, view: View, place: int) -> None:
        self._feed = feed
        self._view = view
        self._place = place
        self.members: dict[Follower, None] = {}

    async def run(self) -> None:
        """Serve the members as long as there are any. Cancel it when they have left."""
        loop = asyncio.get_running_loop()
        view, feed = self._view, self._feed
        beat = loop.time() + feed.heartbeat
        try:
            while self.members and not feed.closing:
                head = await view.settle()
                if head > self._place:
                    piece = await feed.after(view, self._place, head)
                    await self._send(piece)
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout_at(beat):
                            await view.wait(self._place)
                if loop.time() >= beat:
                    beat = loop.time() + feed.heartbeat
                    await self._beat()
        except HubError as error:
            logger.warning("stream %s: its followers are served one by one: %s", view.name, error)
        finally:
            feed.dissolve(view, self)
            for each in tuple(self.members):
                each.wake()

    async def _send(self, piece: Framed) -> None:
        start, self._place = self._place, piece.end
        members = iter(tuple(self.members))
        while some := tuple(islice(members, SLICE)):
            for each in some:
                if not each.live or each.place >= piece.end:
                    continue  # it came later, and has read further
                full = each.transport.get_write_buffer_size() > BACKLOG
                if full or each.place != start or each.transport.is_closing():
                    each.wake()
                    continue
                each.place = piece.end
                if piece.frames:
                    each.transport.write(piece.frames)
            await asyncio.sleep(0)

    async def _beat(self) -> None:
        """Send every member a comment, so that proxies keep it open."""
        members = iter(tuple(self.members))
        while some := tuple(islice(members, SLICE)):
            for each in some:
                transport = each.transport
                idle = each.live and not transport.is_closing()
                if idle and not transport.get_write_buffer_size():
                    transport.write(sse.HEARTBEAT)
            await asyncio.sleep(0)


class Feed:
    """All followers of views. `heartbeat` is in seconds."""

    def __init__(self, framer: Framer, heartbeat: float) -> None:
        self.heartbeat = heartbeat
        self.closing = False
        self._framer = framer
        self._groups: dict[str, tuple[Group, asyncio.Task[None]]] = {}
        self._pieces: OrderedDict[tuple[str, int], asyncio.Task[Framed]] = OrderedDict()

    def add(
        self,
        view: View,
        place: int,
        transport: Transport,
        drain: Callable[[], Awaitable[None]],
    ) -> Follower:
        """A follower that begins behind number `place`; the caller runs it."""
        return Follower(self, view, place, transport, drain)

    def close(self) -> None:
        """End every follower; each `run` returns soon after."""
        self.closing = True
        for group, _ in tuple(self._groups.values()):
            for each in tuple(group.members):
                each.wake()

    def group(self, view: View, place: int) -> Group:
        """The group of a view, which begins at `place` if there is none yet."""
        found = self._groups.get(view.key)
        if found is None:
            group = Group(self, view, place)
            task = asyncio.get_running_loop().create_task(group.run())
            self._groups[view.key] = found = (group, task)
        return found[0]

    def dissolve(self, view: View, group: Group) -> None:
        """Forget a group; the next who comes makes another."""
        found = self._groups.get(view.key)
        if found is not None and found[0] is group:
            del self._groups[view.key]
            if found[1] is not asyncio.current_task():
                found[1].cancel()  # it may never have begun

    def forget(self) -> None:
        """Drop what is remembered: a stream may be another one under its name."""
        self._pieces.clear()

    async def after(self, view: View, place: int, head: int) -> Framed:
        """What follows number `place` of a view, not beyond `head`. Cancelling is safe.

        It may be that nothing does. Raises what reading raises.
        """
        key = (view.key, place)
        task = self._pieces.get(key)
        if task is None or (task.done() and _is_of_no_use(task, head)):
            task = asyncio.get_running_loop().create_task(self._framer.read(view, place, head))
            task.add_done_callback(_ended)
            self._pieces[key] = task
            self._pieces.move_to_end(key)
            if len(self._pieces) > REMEMBERED:
                self._pieces.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except HubError:
            if self._pieces.get(key) is task:
                del self._pieces[key]
            raise


def _ended(task: asyncio.Task[Framed]) -> None:
    if not task.cancelled():
        task.exception()  # told to who waits, if anybody does


def _is_of_no_use(task: asyncio.Task[Framed], head: int) -> bool:
    """Whether a piece could not be read, or was when there was less, and found nothing."""
    if task.cancelled() or task.exception() is not None:
        return True
    piece = task.result()
    return not piece.frames and piece.end < head
