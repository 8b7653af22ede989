"""An event loop in a thread, for programs that have none.

Owns the crossing between threads: a call of a program runs a coroutine there, and what
that coroutine wants called in the program's thread is called there meanwhile. It must
not know what the coroutines do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from hub.client.errors import ClientClosed

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_SECONDS = 5.0
"""How long the end of the thread is waited for."""

FINISH_SECONDS = 1.0
"""How long what is under way then may take."""

CLOSED = "this Hub was closed"

_Calls = SimpleQueue[Callable[[], None] | None]
_calls: ContextVar[_Calls] = ContextVar("calls")


class LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there; meanwhile, serve the calls that it wants made here.

        Whatever is raised here, Ctrl-C say, cancels it first, and waits for its end.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a function that the hub calls in its own thread cannot use it")
        calls: _Calls = SimpleQueue()
        task: asyncio.Task[T] | None = None

        def start() -> None:
            nonlocal task
            _calls.set(calls)  # in the context of this callback, which the task inherits
            task = loop.create_task(work)
            task.add_done_callback(lambda _: calls.put(None))

        def cancel() -> None:
            if task is not None:
                task.cancel()

        try:
            loop = self._started()
        except ClientClosed:
            work.close()
            raise
        loop.call_soon_threadsafe(start)
        try:
            while (call := calls.get()) is not None:
                call()
        except BaseException as error:
            loop.call_soon_threadsafe(cancel)
            while calls.get() is not None:
                pass
            if task is not None and not task.cancelled() and (other := task.exception()):
                error.add_note(f"what was cancelled for this ended with {other!r}")
            raise
        if task is None or task.cancelled():
            raise ClientClosed(CLOSED)
        return task.result()

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run the last coroutine, and end the thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop, self._closed = None, True
        if loop is None or thread is None or not thread.is_alive():
            last.close()
            return
        ended = asyncio.run_coroutine_threadsafe(last, loop)
        with suppress(TimeoutError):
            ended.result(CLOSE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        if threading.current_thread() is not thread:
            thread.join(CLOSE_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether it runs, and waiting for it is possible here."""
        return self._loop is not None and threading.current_thread() is not self._thread

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise ClientClosed(CLOSED)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="hub.client.sync", daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(_finish())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _finish() -> None:
    """Let what is under way end, or cancel it: somebody may be waiting for it."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, left = await asyncio.wait(others, timeout=FINISH_SECONDS)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def in_caller(function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> Any:
    """Call a function in the thread of the program's call, and wait for it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def settle(settled: Callable[[Any], None], value: Any) -> None:
        if not answer.done():
            settled(value)

    def call() -> None:
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            loop.call_soon_threadsafe(settle, answer.set_exception, error)
        else:
            loop.call_soon_threadsafe(settle, answer.set_result, result)

    _calls.get().put(call)
    found = await answer
    return await found if isinstance(found, Awaitable) else found
