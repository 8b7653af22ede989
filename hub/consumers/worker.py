"""A worker: a process that folds batches for many consumers, one after the other.

Owns the sandboxes, and what the system forbids their process. It knows neither
files nor streams; the hub (`hub.consumers.pool`) gives it tasks over a socket and
may lose it at any time: the state that counts is the one that the hub has.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from hub.consumers.messages import Fault, Gone, Inbox, Limits, Reply, Task, Why, receive, send
from hub.consumers.sandbox import Failed, Sandbox

NICENESS = 10
"""Posting goes first when there are not enough processors."""

OVERTIME = 1.25
"""Times its limit that a handler gets before the system ends the process."""

GRACE_SECONDS = 0.25


def main(arguments: list[str]) -> None:
    """Serve tasks from the socket with the number in the first argument, until it closes."""
    limits = msgspec.json.decode(arguments[1], type=Limits)
    with _lowest(int(arguments[0])) as hub:
        confine()
        try:
            send(hub, Reply())  # so the hub knows that it could be started
            serve(hub, limits)
        except (Gone, BrokenPipeError, ConnectionResetError):
            return  # the hub has ended, perhaps by kill -9


def _lowest(number: int) -> socket.socket:
    """The socket at the lowest number that is free: a hub with many connections gave a high one,
    below which a handler that got out of QuickJS would have room to open others."""
    with socket.socket(fileno=number) as given:
        return given.dup()


def confine() -> None:
    """Give up what folding does not need. What stands between a handler and that is QuickJS."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # the hub says when it is enough
    os.nice(NICENESS)
    Path("/proc/self/oom_score_adj").write_text("1000")  # rather this process than the hub
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    opened = max(int(each) for each in os.listdir("/proc/self/fd")) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened, opened))
    gc.freeze()


def serve(hub: socket.socket, limits: Limits) -> None:
    """Answer task after task."""
    sandboxes: dict[str, Sandbox] = {}
    inbox = Inbox()
    # Processor time, so that a busy machine is not taken for a slow handler. The default
    # action of the signal ends the process, wherever in the engine it is.
    last_moment = limits.seconds * OVERTIME + GRACE_SECONDS
    while True:
        task = receive(hub, Task)
        batch = inbox.receive(hub, task.size)
        signal.setitimer(signal.ITIMER_PROF, last_moment)
        begun = time.perf_counter()
        state, fault = b"", None
        try:
            state = _work(sandboxes, task, batch, limits)
        except Failed as failed:
            fault = failed.fault
            sandboxes.pop(task.key, None)
        seconds = time.perf_counter() - begun
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(hub, Reply(state, fault, seconds))


def _work(sandboxes: dict[str, Sandbox], task: Task, batch: memoryview, limits: Limits) -> bytes:
    for key in task.drop:
        del sandboxes[key]
    if task.handler is not None:
        sandboxes.pop(task.key, None)  # its memory can be had for the new one
        try:
            sandbox = Sandbox(task.handler, task.state, limits)
        except Failed as failed:
            raise Failed(Fault(Why.HANDLER, failed.fault.text)) from None
        if not batch:
            return sandbox.state
        sandboxes[task.key] = sandbox
    return sandboxes[task.key].fold(batch)


if __name__ == "__main__":
    main(sys.argv[1:])
