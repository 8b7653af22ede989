"""A worker as a process of its own, on the other end of a socket."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import hub
from hub.consumers.messages import (
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
from hub.consumers.worker import NICENESS
from tests.consumers.memory import document

LIMITS = Limits(seconds=0.3, memory=16 * 2**20, state=100_000)
MANY = 500
COUNT = "(e, s) => ({ n: (s.n || 0) + 1 })"
HANGS = "(e, s) => 'a'.repeat(2e6).indexOf('a'.repeat(1e6) + 'b')"


class Running:
    """A worker, and the hub's end of the socket."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20)
        # As in a hub with many connections.
        number = fcntl.fcntl(theirs, fcntl.F_DUPFD, MANY)
        theirs.close()
        with socket.socket(fileno=number):
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "hub.consumers.worker", str(number)),
                    msgspec.json.encode(LIMITS).decode(),
                ],
                pass_fds=[number],
                cwd=Path(hub.__file__).parents[1],
            )
        receive(self.socket, Reply)

    def ask(self, key: str, *payloads: object, **task: object) -> Reply:
        documents = [document(at, each) for at, each in enumerate(payloads, 1)]
        send(self.socket, Task(key, batch_size(documents), **task))  # type: ignore[arg-type]
        if documents:
            send_batch(self.socket, documents)
        return receive(self.socket, Reply)


@pytest.fixture
def worker() -> Iterator[Running]:
    running = Running()
    yield running
    running.socket.close()
    running.process.kill()
    running.process.wait()


def test_batches_are_folded_one_after_the_other(worker: Running) -> None:
    reply = worker.ask("a", 1, 2, handler=COUNT, state=b"{}")
    assert (reply.state, reply.fault) == (b'{"n":2}', None)
    assert 0 < reply.seconds < 5
    assert worker.ask("b", 1, handler=COUNT, state=b'{"n":10}').state == b'{"n":11}'
    assert worker.ask("a", 3).state == b'{"n":3}'
    assert worker.ask("b", 2).state == b'{"n":12}'


def test_a_handler_can_be_tried(worker: Running) -> None:
    assert worker.ask("a", handler=COUNT, state=b'{"n": 1.0}').state == b'{"n":1}'
    reply = worker.ask("a", handler="12", state=b"{}")
    assert reply.fault is not None
    assert (reply.fault.why, reply.fault.at) == (Why.HANDLER, 0)


def test_a_fault_costs_its_sandbox_and_no_other(worker: Running) -> None:
    worker.ask("good", 1, handler=COUNT, state=b"{}")
    reply = worker.ask("bad", 1, handler="(e, s) => { for (;;); }", state=b"{}")
    assert reply.fault is not None
    assert (reply.fault.why, reply.fault.at) == (Why.TIME, 1)
    assert worker.ask("good", 2).state == b'{"n":2}'
    assert worker.ask("bad", 1, handler=COUNT, state=b"{}").state == b'{"n":1}'
    worker.ask("bad", 1, handler="(e, s) => missing", state=b"{}")
    with pytest.raises(Gone):
        worker.ask("bad", 1)


def test_a_sandbox_can_be_dropped(worker: Running) -> None:
    worker.ask("a", 1, handler=COUNT, state=b"{}")
    worker.ask("b", 1, handler=COUNT, state=b"{}", drop=("a",))
    with pytest.raises(Gone):
        worker.ask("a", 1)


@pytest.mark.parametrize("handler", [HANGS, f"({HANGS})()"])
def test_what_cannot_be_interrupted_is_ended(worker: Running, handler: str) -> None:
    begun = time.monotonic()
    with pytest.raises(Gone):
        worker.ask("a", 1, handler=handler, state=b"{}")
    assert worker.process.wait(20) == -signal.SIGPROF
    assert time.monotonic() - begun < 15


def test_it_ends_when_the_hub_is_gone(worker: Running) -> None:
    worker.socket.close()
    assert worker.process.wait(20) == 0


def test_it_ends_when_the_hub_goes_in_the_middle(worker: Running) -> None:
    documents = [document(1, 1)]
    send(worker.socket, Task("a", batch_size(documents), HANGS, b"{}"))
    send_batch(worker.socket, documents)
    worker.socket.close()
    assert worker.process.wait(20) == -signal.SIGPROF


def test_signals_meant_for_the_hub_do_not_end_it(worker: Running) -> None:
    worker.process.send_signal(signal.SIGINT)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.ask("a", 1, handler=COUNT, state=b"{}").state == b'{"n":1}'


def test_it_has_given_up_what_it_does_not_need(worker: Running) -> None:
    pid = worker.process.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(
        19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
    )
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n"
    assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (0, 0)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] < 10
