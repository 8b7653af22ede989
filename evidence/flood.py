"""Publishers who send more than the disk can take: they have to wait, the hub must not fill up."""

from __future__ import annotations

import asyncio
import re
import socket
import statistics
import threading
import time
from collections import Counter
from itertools import count

from evidence.holding import files, resident
from evidence.run import Run, check
from evidence.shim import Shim
from tests.process import HubProcess, wait_until
from tests.storing import Storing

CHANNEL, OTHER = "a-channel", "other-channel"
TSV = "text/tab-separated-values"

RATE = 4_000_000
"""Bytes a second that the disk takes."""

HELD = 16 * 1024 * 1024
"""`--max-held-bytes`: of large bodies."""

SIZE = 30_000
"""Bytes of an event: of a post that is not counted as held, since it is small."""

BATCH = 200
"""Events of a batch: of a body that is counted."""

SENDING = 512 * 1024
"""Bytes that the system takes of a publisher before that has to wait."""

COPIES = 4
"""How often what is held may be in memory: as it came, whole, as a batch, in the allocator."""

BUFFERS = 512 * 1024
"""Bytes that a connection may take besides: what came and was not looked at yet, in pieces."""

GROWTH = 24 * 1024 * 1024
"""Bytes by which the memory of the second half may lie above that of the first."""

SOON = 20.0
"""Seconds in which all others must have an answer."""

LEFT = 8
"""Files that may be open more than before, of the log and of the index."""

LAST = 240.0
"""Seconds until the last answer, on a disk that is not slow any more."""

_PAUSE = 1.0  # after 503, as `Retry-After` says
_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*?Content-Length: (\d+)\r\n")
_LINE = re.compile(rb"^([^\t\n]+)\tflood\t(\d{10}) (x*)$", re.MULTILINE)


def flood(run: Run) -> list[str]:
    """Post more, and faster, than the disk can take, on many connections at once.

    A library between the hub and its files makes the disk slow. Some publishers send one
    post after the other without waiting for any answer, others large batches. They are
    slowed, or told that the hub is busy; its memory stays within what the options say and
    does not grow in the second half of the time. Others post and read meanwhile. In the end
    everything is answered; what was acknowledged is there, once, byte for byte,
    and nothing that was refused. Short: 40 and 20 connections, 8 seconds; long: 400
    and 60, 180 seconds.
    """
    return asyncio.run(_Flood(run).go())


class _Flood:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._posting, self._batching = run.pick(40, 400), run.pick(20, 60)
        self._seconds = run.pick(8, 180)
        disk = run.directory / "disk"
        disk.mkdir()
        self._shim = Shim(run.directory, disk)
        options = ("--max-held-bytes", str(HELD))
        self._hub = HubProcess(disk / "events", run.directory / "hub.log", *options)
        self._hub.environment = self._shim.environment
        self._numbers = count(1)
        self._sent = 0  # bytes of bodies
        self._told: dict[int, str] = {}  # by number: the id; of a batch, "" but for the last
        self._refused: set[int] = set()
        self._counts: Counter[int] = Counter()
        self._others: list[float] = []
        self._over = threading.Event()

    async def go(self) -> list[str]:
        hub = self._hub
        await asyncio.to_thread(hub.start)
        try:
            shown = await self._flood()
            self._check_log()
            log = hub.log
            check("Traceback" not in log and " ERROR " not in log, f"the hub's log: {log[-3000:]}")
            return shown
        finally:
            if hub.process is not None:
                hub.kill()

    async def _flood(self) -> list[str]:
        hub = self._hub
        self._ask_others(Storing(hub))  # so that all that is made once is made
        before, open_before = resident(hub), files(hub)
        self._shim.slow_down(RATE)
        others = asyncio.create_task(asyncio.to_thread(self._be_others))
        works = [self._post() for _ in range(self._posting)]
        works += [self._batch() for _ in range(self._batching)]
        publishers = [asyncio.create_task(work) for work in works]
        samples = []
        began = time.monotonic()
        while (now := time.monotonic() - began) < self._seconds:
            samples.append((now, resident(hub)))
            await asyncio.sleep(0.1)
        self._over.set()
        stored = (hub.events / f"{CHANNEL}.tsv").stat().st_size
        sent = self._sent
        self._shim.slow_down(0)  # the rest need not take as long
        await others
        await asyncio.wait_for(asyncio.gather(*publishers), LAST)
        first = max(size for at, size in samples if at < self._seconds / 2)
        second = max(size for at, size in samples if at >= self._seconds / 2)
        largest = max(first, second)
        allowed = before + COPIES * HELD + BUFFERS * len(publishers)
        self._run.say(f"{before:,}, {first:,}, {second:,} bytes; {allowed:,} allowed")
        check(largest < allowed, f"{largest:,} bytes of memory, {allowed:,} allowed")
        check(second < first + GROWTH, f"memory grew from {first:,} to {second:,} bytes")
        check(stored < 2 * RATE * self._seconds, f"{stored:,} bytes: the disk was not slow")
        wanted = self._posting * SENDING + self._batching * BATCH * SIZE
        check(sent > stored + wanted, f"{sent:,} bytes sent, {stored:,} stored: this is no flood")
        wait_until(lambda: files(hub) <= open_before + LEFT, "connections are closed")
        times = sorted(self._others)
        return [
            f"{self._posting} connections that post without waiting and {self._batching} with "
            f"batches of {BATCH * SIZE / 1e6:.0f} MB, for {self._seconds} s: they had sent "
            f"{sent / 1e6:,.0f} MB when the disk had taken {stored / 1e6:,.0f}",
            f"{self._counts[201]:,} answers 201, {self._counts[503]:,} answers 503",
            f"memory {before / 2**20:.0f} MiB before, at most {first / 2**20:.0f} in the first "
            f"half, {second / 2**20:.0f} in the second; {allowed / 2**20:.0f} are allowed",
            f"{len(times):,} requests of others, half answered in "
            f"{statistics.median(times) * 1e3:.0f} ms, all in {times[-1]:.1f} s",
        ]

    # Who sends too much

    async def _post(self) -> None:
        """One post after the other, whether or not those before were answered."""
        reader, writer = await self._connect()
        numbers: asyncio.Queue[int | None] = asyncio.Queue()
        receiving = asyncio.create_task(self._receive_all(reader, numbers))
        while not self._over.is_set():
            number = next(self._numbers)
            body = b"%010d " % number + b"x" * SIZE
            writer.write(_head(f"/{CHANNEL}?event=flood", len(body)) + body)
            numbers.put_nowait(number)
            await writer.drain()
            self._sent += len(body)
        numbers.put_nowait(None)
        await receiving
        writer.close()

    async def _receive_all(
        self, reader: asyncio.StreamReader, numbers: asyncio.Queue[int | None]
    ) -> None:
        while (number := await numbers.get()) is not None:
            status, text = await _receive(reader)
            self._take(status, text, [number])
            if status == 201:
                self._told[number] = text.decode()

    async def _batch(self) -> None:
        """A batch, again when it was refused, and then another."""
        while not self._over.is_set():
            reader, writer = await self._connect()
            numbers = [next(self._numbers) for _ in range(BATCH)]
            lines = [b"\tflood\t%010d %b\n" % (number, b"x" * SIZE) for number in numbers]
            body = b"".join(lines)
            try:
                writer.write(_head(f"/{CHANNEL}", len(body), TSV) + body)
                self._sent += len(body)
                status, text = await _receive(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                self._refused.update(numbers)  # before all was sent
                status, text = 503, b'"busy"'
            writer.close()
            self._take(status, text, numbers)
            if status == 201:
                self._told.update(dict.fromkeys(numbers, ""))
            else:
                await asyncio.sleep(_PAUSE)

    def _take(self, status: int, text: bytes, numbers: list[int]) -> None:
        self._counts[status] += 1
        if status != 201:
            check(status == 503 and b'"busy"' in text, f"a post was answered {status}: {text!r}")
            self._refused.update(numbers)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENDING // 2)  # the system doubles it
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", self._hub.port))
        return await asyncio.open_connection(sock=one)

    # Who has nothing to do with it

    def _be_others(self) -> None:
        client = Storing(self._hub)
        while not self._over.is_set():
            self._ask_others(client)
            time.sleep(0.05)
        client.close()

    def _ask_others(self, client: Storing) -> None:
        for method, path in (
            ("POST", f"/{OTHER}"),
            ("GET", f"/{OTHER}?tail=1"),
            ("GET", "/health"),
        ):
            began = time.monotonic()
            told = client.ask(method, path, b"x" if method == "POST" else None)
            seconds = time.monotonic() - began
            check(told.status in (200, 201), f"{method} {path} is {told}")
            check(seconds < SOON, f"{method} {path} took {seconds:.1f} s")
            self._others.append(seconds)

    # What is there

    def _check_log(self) -> None:
        """What was acknowledged is there once, as it was sent; what was refused is not."""
        content = (self._hub.events / f"{CHANNEL}.tsv").read_bytes()
        found: dict[int, str] = {}
        for identity, number, filler in _LINE.findall(content):
            check(int(number) not in found, f"event {int(number)} is there twice")
            check(len(filler) == SIZE, f"event {int(number)} has {len(filler)} bytes")
            found[int(number)] = identity.decode()
        check(content.count(b"\n") == len(found), "there are lines that nobody sent")
        for number, identity in self._told.items():
            check(number in found, f"event {number} was acknowledged, and is lost")
            check(identity in ("", found[number]), f"event {number} has another id: {identity}")
        check(not self._refused & set(found), "what was refused is there")


def _head(path: str, length: int, kind: str = "text/plain") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: hub\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


async def _receive(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and the body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = _ANSWER.match(head)
    assert found is not None, head
    return int(found[1]), await reader.readexactly(int(found[2]))
