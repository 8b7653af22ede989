"""The n-th call fails: a real hub whose file calls go wrong, one after the other."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import HTTPException
from itertools import count
from typing import NamedTuple, TypeAlias

from evidence.events import HANDLER, NOTHING, data_of, payload_of
from evidence.ledger import Order, Write
from evidence.run import Broken, Run, check
from evidence.shim import Call, Shim
from tests.process import HubProcess
from tests.storing import Storing, Told

CHANNEL, STREAM = "a-channel", "orders-1"
TSV = "text/tab-separated-values"

SOON = 20.0
"""Seconds within which a hub must have answered, and must work again once nothing fails."""


UNCHECKED = 20
"""Faults after which the hub is killed, and everything is checked."""


class Fault(NamedTuple):
    """What goes wrong: the call of a number, and with `lasting` all of its kind behind it."""

    call: Call
    error: int  # 0: a write takes half of what it is given
    lasting: bool

    def __str__(self) -> str:
        error = errno.errorcode[self.error] if self.error else "short"
        return f"{self.call.name} {error}{' for good' * self.lasting}"


Happening: TypeAlias = Callable[[Fault, int], bool]
"""Lets a fault happen, and tells whether it came to that."""

FAULTS = [
    Fault(call, error, lasting)
    for call, errors in {
        Call.WRITE: (errno.EIO, errno.ENOSPC, 0),
        Call.SYNC: (errno.EIO, errno.ENOSPC),
        Call.OPEN: (errno.EIO, errno.EMFILE, errno.ENOSPC),
        Call.TRUNCATE: (errno.EIO,),
        Call.RENAME: (errno.EIO, errno.ENOSPC),
        Call.UNLINK: (errno.EIO,),
        Call.MAKE: (errno.ENOSPC,),
    }.items()
    for error in errors
    for lasting in (False, True)
]


def faults(run: Run) -> list[str]:
    """Let the n-th file call of a hub fail, n = 1, 2, 3 … until none does; once, and for good.

    Write, short write, sync, open, truncate, rename, unlink and mkdir below the events
    directory, with EIO, ENOSPC and EMFILE, SQLite's among them; while the hub serves, and while
    it starts. Every request has an answer within 20 s: done, or a status with JSON that says
    why; nothing is acknowledged that could not be synced. Once nothing fails any more the hub
    works as before; after a kill everything acknowledged is there, byte for byte, at the
    position that was told, and nothing that was refused; hub verify finds no damage. The
    short setting leaves out most n.
    """
    counts: Counter[str] = Counter()
    if not run.long:
        some = [each for each in FAULTS if not each.lasting and each.error == errno.EIO]
        return [_told("always", _Faults(run, "always").go(FAULTS, some))]
    for number, fault in enumerate(FAULTS):  # a start takes longer, the more logs there are
        counts += _Faults(run, "always", f"starting-{number}").go((), (fault,))
        run.say(f"always, starting: {fault}")
    counts += _Faults(run, "always", "serving").go(FAULTS, ())
    run.say("always, serving")
    return [_told("always", counts), _told("os", _Faults(run, "os").go(FAULTS, ()))]


def _told(durability: str, counts: Counter[str]) -> str:
    parts = ", ".join(f"{counts[what]:,} {what}" for what in sorted(counts))
    return f"{durability}: {parts}"


class _Faults:
    """One hub, to which things happen while it serves, and then while it starts."""

    def __init__(self, run: Run, durability: str, part: str = "all") -> None:
        self._run = run
        self._always = durability == "always"
        place = run.directory / f"{durability}-{part}"
        (place / "disk").mkdir(parents=True)
        self._shim = Shim(place, place / "disk")
        options = ("--durability", durability, "--sync-interval", "0.05")
        self._hub = HubProcess(place / "disk" / "events", place / "hub.log", *options)
        self._hub.environment = self._shim.environment
        self._client = Storing(self._hub)
        self._tokens = count(1)
        self._names = count(1)
        self._writes: list[Write] = []
        self._said: list[str] = []  # derived streams and consumers that were acknowledged
        self._counts: Counter[str] = Counter()
        self._unchecked = 0  # faults since everything was checked

    def go(self, serving: Iterable[Fault], starting: Iterable[Fault]) -> Counter[str]:
        """What came of it, by what it was."""
        hub = self._hub
        try:
            hub.start()
            for fault in serving:
                self._with(fault, self._while_serving, 5)
            self._restart_and_check()
            for fault in starting:
                self._use(fault)  # so that there is something to start with
                self._with(fault, self._while_starting, 8)
            self._restart_and_check()
        finally:
            self._client.close()
            if hub.process is not None:
                hub.kill()
        check("Traceback" not in hub.log, "there is a traceback in the hub's log")
        return self._counts

    def _with(self, fault: Fault, happens: Happening, factor: int) -> None:
        """Let it happen at call 1, 2, 3 …; in the short setting at 1, `factor`, its square …"""
        number = 1
        fired = True
        while fired:
            try:
                fired = happens(fault, number)
                self._unchecked += 1
                if self._unchecked >= UNCHECKED:
                    self._restart_and_check()
            except Broken as error:
                raise Broken(f"{fault}, call {number}, {happens.__name__}: {error}") from error
            self._counts["faults"] += fired
            number = number + 1 if self._run.long else number * factor

    def _while_serving(self, fault: Fault, number: int) -> bool:
        self._shim.arm(fault.call, number, fault.error, lasting=fault.lasting)
        self._use(fault)
        fired = self._shim.heal() > 0
        self._wait_until_it_works()
        return fired

    def _while_starting(self, fault: Fault, number: int) -> bool:
        hub = self._hub
        hub.kill()
        log = len(hub.log)
        self._shim.arm(fault.call, number, fault.error, lasting=fault.lasting)
        hub.begin()
        if self._answers():
            self._use(fault)
            fired = self._shim.heal() > 0
            if self._ask("GET", "/health").json["damaged"]:
                # A file that could not be read at the start is not tried again, and it says so.
                self._counts["starts with a log that takes no writes"] += 1
                hub.restart()
            self._wait_until_it_works()
            self._counts["starts in spite of a fault"] += fired
            return fired
        assert hub.process is not None
        fired = self._shim.heal() > 0
        told = hub.log[log:]
        check(hub.process.returncode, f"the hub ended as if all were well:\n{told}")
        check("Traceback" not in told and told.strip(), f"it does not say why it ended:\n{told}")
        hub.process = None
        self._counts["starts refused"] += 1
        hub.start()
        return fired

    def _answers(self) -> bool:
        """Whether the hub that was begun serves; False if it has ended."""
        process = self._hub.process
        assert process is not None
        end = time.monotonic() + SOON
        while process.poll() is None:
            check(time.monotonic() < end, "it neither serves nor ends")
            with suppress(OSError, HTTPException):
                self._client.ask("GET", "/health")
                return True
            time.sleep(0.02)
        return False

    # What is asked of it

    def _use(self, fault: Fault) -> None:
        """Some of all that makes it touch files."""
        name = f"{next(self._names):05}"
        for stream in (CHANNEL, f"new-{name}"):
            self._post(fault, stream)
            self._post(fault, stream, batch=True)
        for stream in (STREAM, f"new/{name}"):
            self._commit(fault, stream)
        derived, consumer = f"/streams/derived-{name}", f"/consumers/c{name}"
        if self._ask("PUT", derived, {"payload": {"type": f"T{name}"}}).status == 201:
            self._said.append(derived)
        body = {"handler": HANDLER, "state": NOTHING}
        if self._ask("PUT", f"{consumer}/stream/{CHANNEL}", body).status == 201:
            self._said.append(consumer)
        for path in (f"/{CHANNEL}?tail=3", f"/streams/{STREAM}", "/streams/_all/backwards/3"):
            self._ask("GET", path)
        for each in self._said[:-8]:  # there need not be ever more of them
            self._ask("DELETE", each)  # refused, it may be gone all the same
            self._said.remove(each)

    def _post(self, fault: Fault | None, stream: str, *, batch: bool = False) -> int:
        write = self._write("tsv" if batch else "post", stream, "Posted", 3 if batch else 1)
        if batch:
            texts = [data_of(each, write.kind).replace("\n", "\v") for each in write.tokens]
            body = "".join(f"\t{write.kind}\t{text}\n" for text in texts)
            return self._send(fault, write, f"/{stream}", body.encode(), TSV)
        text = data_of(write.tokens[0], write.kind)
        return self._send(fault, write, f"/{stream}?event={write.kind}", text.encode())

    def _commit(self, fault: Fault | None, stream: str) -> int:
        write = self._write("commit", stream, "Plain", 2)
        events = b",".join([payload_of(each, write.kind) for each in write.tokens])
        path = f"/streams/{stream.replace('/', '%2F')}/commit"
        return self._send(fault, write, path, b'{"events":[%b]}' % events)

    def _write(self, door: str, stream: str, kind: str, size: int) -> Write:
        tokens = [next(self._tokens) for _ in range(size)]
        write = Write(len(self._writes), door, stream, kind, tokens, time.monotonic())
        self._writes.append(write)
        return write

    def _send(
        self, fault: Fault | None, write: Write, path: str, body: bytes, kind: str = ""
    ) -> int:
        fires = self._shim.fired > 0
        told = self._ask("POST", path, body, kind)
        write.ended = time.monotonic()
        write.status = told.status
        if told.status == 201 and write.door == "commit":
            write.position, write.version = told.json["position"], told.json["streamVersion"]
        if fault and fault.call is Call.SYNC and fault.lasting and fires and self._always:
            check(told.status != 201, f"acknowledged while no sync goes well: {write}")
        return told.status

    def _ask(self, method: str, path: str, body: object = None, kind: str = "") -> Told:
        """One request: it must have an answer, and a clear one."""
        began = time.monotonic()
        for _ in range(2):  # the connection may be of a hub that is gone
            try:
                told = self._client.ask(method, path, body, kind)
                break
            except (OSError, HTTPException) as error:
                failure = error
        else:
            raise Broken(f"{method} {path} has no answer: {failure!r}")
        seconds = time.monotonic() - began
        check(seconds < SOON, f"{method} {path} took {seconds:.1f} s")
        self._counts[f"answers {told.status}"] += 1
        if told.status >= 300:
            # 404: of a stream or a consumer that could not be made.
            check(told.status in (404, 503, 507), f"{method} {path} was answered {told}")
            with suppress(ValueError):
                check(set(told.json) >= {"error", "code"}, f"{method} {path}: {told}")
                return told
            raise Broken(f"{method} {path} was answered without JSON: {told}")
        return told

    def _wait_until_it_works(self) -> None:
        end = time.monotonic() + SOON
        while True:
            written = self._post(None, CHANNEL) == 201
            if self._commit(None, STREAM) == 201 and written:
                told = self._ask("GET", "/streams/_all/backwards/1")
                if told.status == 200:
                    return
            check(time.monotonic() < end, "nothing fails any more, but it does not work again")
            time.sleep(0.05)

    # What is there

    def _restart_and_check(self) -> None:
        hub = self._hub
        hub.kill()
        command = [sys.executable, "-m", "hub", "verify", str(hub.events)]
        result = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
        check(result.returncode == 0, f"hub verify: {result.stdout}{result.stderr}")
        hub.start()
        told = self._ask("GET", "/streams/_all")
        order = Order(told.body.split(b"\n")[:-1])
        order.check_writes(self._writes)
        order.check_streams()
        head = json.loads(self._ask("GET", "/streams/_all/version").body)["version"]
        check(head == len(order.lines), f"{head} positions, but {len(order.lines)} events")
        for path in self._said:
            check(self._ask("GET", path).status == 200, f"{path} was made, and is lost")
        self._counts["kills"] += 1
        self._unchecked = 0
