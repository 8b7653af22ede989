"""The pool: a few worker processes that fold for all consumers, in turn.

Owns the workers' processes and who is next. A batch waits until a worker is free,
first come, first served: a handler that runs to its time limit keeps the others
waiting for no longer than that. What a worker holds of a consumer is a copy: it can
be lost at any time and is made again from the state that the hub has.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from hub.consumers.messages import (
    Fault,
    Gone,
    Limits,
    Reply,
    Task,
    Why,
    batch_size,
    receive,
    send,
    send_batch,
)
from hub.errors import Closing, SandboxFailed

KEPT = 32
"""Sandboxes that each worker keeps between batches; a further one takes the oldest one's place."""

START_SECONDS = 20.0
"""How long a worker may take until it is ready."""

_ENDINGS: dict[int, str] = {
    signal.SIGPROF: "it ran on although its time was up",
    signal.SIGSEGV: "it crashed the sandbox",
    signal.SIGABRT: "it crashed the sandbox",
    signal.SIGKILL: "the system ended the sandbox, perhaps for want of memory",
}


class Work(msgspec.Struct, frozen=True):
    """A batch to be folded. `serial` names the state that it begins with, everywhere and ever."""

    identifier: str
    serial: int
    next_serial: int
    handler: str
    state: msgspec.Raw
    documents: Sequence[bytes]


class Pool:
    """At most `size` workers; they are started when there is something to do."""

    def __init__(self, size: int, limits: Limits) -> None:
        self.rest = 0.0  # seconds that each consumer leaves to the others after a batch
        self._free = [_Worker(limits) for _ in range(size)]
        self._workers = tuple(self._free)
        self._turn = asyncio.Semaphore(size)
        self._threads = ThreadPoolExecutor(size, "consumers")
        self._jobs: set[asyncio.Task[Reply]] = set()
        self._closed = False

    async def fold(self, work: Work) -> Reply:
        """Fold a batch in a worker; without documents, only try the handler.

        Raises `SandboxFailed` if no worker can be started, `Closing`. Cancelling is safe; a batch
        that has begun is folded nevertheless, and its result dropped.
        """
        job = asyncio.get_running_loop().create_task(self._fold(work))
        self._jobs.add(job)
        job.add_done_callback(self._done)
        return await asyncio.shield(job)

    def _done(self, job: asyncio.Task[Reply]) -> None:
        self._jobs.discard(job)
        if not job.cancelled():
            job.exception()  # whoever asked may be gone: it is nobody's then

    async def _fold(self, work: Work) -> Reply:
        async with self._turn:
            if self._closed:
                raise Closing("the hub is shutting down")
            worker = min(self._free, key=lambda each: (not each.holds(work), not each.started))
            self._free.remove(worker)
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, worker.fold, work
                )
            except SandboxFailed:
                if self._closed:
                    raise Closing("the hub is shutting down") from None
                raise
            finally:
                self._free.append(worker)

    async def close(self) -> None:
        """End the workers, whatever they are doing."""
        self._closed = True
        for each in self._workers:
            each.kill()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        for each in self._workers:
            await asyncio.to_thread(each.bury)
        self._threads.shutdown(wait=False)


class _Worker:
    """One process and the socket to it. All but `kill` is called by one thread at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._held: OrderedDict[str, int] = OrderedDict()  # the state of each sandbox, by serial
        self._ended = False

    @property
    def started(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def holds(self, work: Work) -> bool:
        """Whether there is a sandbox that has just the state that a batch begins with."""
        return self._held.get(work.identifier) == work.serial

    def fold(self, work: Work) -> Reply:
        """Blocks until the batch is folded. Raises `SandboxFailed`."""
        try:
            return self._give(work)
        except OSError:  # it had ended while it was idle: no batch's fault
            self.bury()
        try:
            return self._give(work)
        except OSError:
            return self._ended_by()

    def _give(self, work: Work) -> Reply:
        """The same, once. Raises `OSError` if the process has ended and had not got all of it."""
        to = self._socket or self._start()
        known = self._held.pop(work.identifier, None) == work.serial
        drop = []
        while len(self._held) >= KEPT:
            drop.append(self._held.popitem(last=False)[0])
        task = Task(
            work.identifier,
            batch_size(work.documents),
            None if known else work.handler,
            b"" if known else bytes(work.state),
            tuple(drop),
        )
        send(to, task)
        if work.documents:
            send_batch(to, work.documents)
        try:
            reply = receive(to, Reply)
        except Gone:  # a reset, instead, says that not all was read
            return self._ended_by()
        if reply.fault is None and work.documents:
            self._held[work.identifier] = work.next_serial
        return reply

    def kill(self) -> None:
        """End the process for good; a `fold` under way returns. From any thread."""
        self._ended = True
        process = self._process
        if process is not None:
            process.kill()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - nothing of a client's is in it
                [
                    *(sys.executable, "-P", "-m", "hub.consumers.worker"),
                    *(str(theirs.fileno()), msgspec.json.encode(self._limits).decode()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
            theirs.close()
            if self._ended:
                raise Gone("the hub is shutting down")
            ours.settimeout(START_SECONDS)
            receive(ours, Reply)
            ours.settimeout(None)
        except OSError as error:
            theirs.close()
            ours.close()
            self._reap()
            raise SandboxFailed(
                f"the process that folds for consumers cannot be started: {error}; "
                "the hub's log may say more"
            ) from error
        self._socket = ours
        return ours

    def _ended_by(self) -> Reply:
        status = self.bury()
        text = _ENDINGS.get(-status, f"the sandbox ended with status {status}")
        return Reply(fault=Fault(Why.DIED, text, again=status != -signal.SIGPROF))

    def bury(self) -> int:
        """Clear up after the process; return its status."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._held.clear()
        return self._reap()

    def _reap(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        return process.wait()


def _environment() -> dict[str, str]:
    """Nothing of the hub's own, but what is needed to find the same modules."""
    return {
        "PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path),
        "TZ": "UTC",  # the same local time wherever events are folded
        # Memory goes back to the system only in large pieces: it is soon needed again.
        "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
        "MALLOC_MMAP_THRESHOLD_": str(64 * 1024 * 1024),
    }
