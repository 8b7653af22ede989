"""The load: a great many subscribers, half of them slow, some leaving in every way there is."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from evidence.arrivals import Arrivals
from evidence.crowd import LEAVING, Kind, State, serve
from evidence.holding import Held, gauge, held, resident
from evidence.run import Broken, Run, check
from hub.subscription import BEHIND_BYTES
from tests.process import HubProcess

CHANNEL = "load"

RATE = 1000
"""Events a second."""

WARM_UP = 0.5
"""The part of the time after which the memory has to stay as it is: the slow fall behind only
when the system takes no more for them."""

MEMORY = 16 * 1024 * 1024
"""By so many bytes it may still differ: of pieces on their way, of what the allocator keeps."""

GONE_SECONDS = 120.0
"""Until the hub must have noticed that those who vanished have gone."""

PATIENCE = 900.0
"""Seconds until all have everything."""

_TOLD_SECONDS = 10.0


def load(run: Run) -> list[str]:
    """Many subscribers of one channel, half of them slow, some leaving, while events arrive.

    The slow ones read a little and then pause. Some leave with a FIN, some with an RST, some
    vanish: nothing reaches them and nothing comes from them any more. Every one that is still
    there gets everything, byte for byte as it stands in the log. The hub's memory is flat
    after a warm-up; when all have gone, neither a file descriptor nor a task nor a thread is
    left behind. Short: 500 subscribers, 12 seconds; long: 10,000 subscribers, 300 seconds,
    and a second crowd, which needs no more memory than the first.
    """
    size, seconds = run.pick(500, 10_000), run.pick(12, 300)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    check(most >= size + 1000, f"{size} subscribers need more than {most} file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    hub = HubProcess(run.directory / "events", run.directory / "hub.log")
    try:
        hub.start()
        return _Load(run, hub, size, seconds).go()
    finally:
        if hub.process is not None:
            hub.kill()


class _Load:
    def __init__(self, run: Run, hub: HubProcess, size: int, seconds: int) -> None:
        self._run = run
        self._hub = hub
        self._seconds = seconds
        each = size // 20  # of those who leave, one twentieth in each way
        self._kinds = {Kind.SLOW: size // 2, **dict.fromkeys(LEAVING, each)}
        self._kinds[Kind.QUICK] = size - sum(self._kinds.values())
        self._crowds = 0
        self._arrivals = Arrivals(hub.port, CHANNEL, RATE)

    def go(self) -> list[str]:
        run = self._run
        self._arrivals.publish(1, lambda: None)  # so that all that is made once is made
        self._before = held(self._hub)
        after, first = self._crowd(self._seconds)
        shown = [*first, f"left behind: {after}; before there was {self._before}"]
        if run.long:
            again, second = self._crowd(self._seconds / 3)
            growth = again.resident - after.resident
            check(growth <= MEMORY, f"a second crowd left {growth:,} bytes more in memory")
            shown += [*second, f"left behind: {again}"]
        self._arrivals.check(self._hub.events / f"{CHANNEL}.tsv")
        return shown

    def _crowd(self, seconds: float) -> tuple[Held, list[str]]:
        run, arrivals = self._run, self._arrivals
        self._crowds += 1
        context = multiprocessing.get_context("spawn")
        orders, theirs = context.Pipe()
        log = self._hub.events / f"{CHANNEL}.tsv"
        seed = f"{run.seed} crowd {self._crowds}"
        process = context.Process(
            target=serve, args=(theirs, self._hub.port, CHANNEL, log, seed), daemon=True
        )
        process.start()
        theirs.close()
        try:
            begin = time.monotonic()
            size = sum(self._kinds.values())
            state = order(orders, "join", self._kinds)
            run.say(f"{state.there:,} subscribers, after {time.monotonic() - begin:.1f} s")
            check(gauge(self._hub, "hub_subscribers") == size, "not all of them count")
            order(orders, "leave", seconds * 0.8)
            samples: list[tuple[float, int]] = []
            began = time.monotonic()
            told = began

            def look() -> None:
                nonlocal told
                now = time.monotonic()
                samples.append((now - began, resident(self._hub)))
                if now - told > _TOLD_SECONDS:
                    told = now
                    lag = gauge(self._hub, "hub_lagging_subscribers")
                    run.say(f"{samples[-1][1] / 2**20:.0f} MiB, {lag:,.0f} lag behind")

            late = arrivals.publish(seconds, look)
            published = time.monotonic() - began
            lagging = gauge(self._hub, "hub_lagging_subscribers")
            order(orders, "hurry")
            state = order(orders, "state")
            deadline = time.monotonic() + PATIENCE
            while state.missing:
                look()
                check(time.monotonic() < deadline, f"{state.missing:,} have not got everything")
                time.sleep(0.5)
                state = order(orders, "state")
            everybody = time.monotonic() - began
            check(sum(state.left.values()) == size - state.there, "others left than were to")
            order(orders, "depart")
            # Those who vanished are as silent as before: the hub has to notice by itself.
            after = self._settle()
            orders.send(("close",))
            process.join(PATIENCE)
        finally:
            process.kill()
        early, late_on, largest = memory_of(samples, published)
        run.say(f"{early:,.0f}, {late_on:,.0f}, at most {largest:,.0f} bytes")
        check(late_on <= early + MEMORY, f"memory grew from {early:,.0f} to {late_on:,.0f} bytes")
        most = early + BEHIND_BYTES + MEMORY
        check(largest <= most, f"catching up took {largest:,} bytes, more than {most:,.0f}")
        ways = ", ".join(f"{count:,} that {kind}" for kind, count in state.left.items())
        middle, most_late = late[len(late) // 2], late[len(late) * 99 // 100]
        return after, [
            f"{size:,} subscribers, {self._kinds[Kind.SLOW]:,} of them slow; {arrivals.rate:,} "
            f"events/s for {seconds:.0f} s took {published:.1f} s; half of the posts were answered "
            f"{middle * 1e3:.0f} ms after they were due, 99 % {most_late * 1e3:,.0f} ms",
            f"{ways}; each of the {state.there:,} others got everything, byte for byte: "
            f"{state.delivered / 1e9:.2f} GB in {everybody:.0f} s; {lagging:,.0f} lagged behind "
            "when the last event came",
            f"resident memory after the warm-up {early / 2**20:.1f} MiB, when the last event came "
            f"{late_on / 2**20:.1f} MiB, at most {largest / 2**20:.1f} while the slow caught up",
        ]

    def _settle(self) -> Held:
        """What the hub holds when it has noticed that all have gone."""
        before = self._before
        deadline = time.monotonic() + GONE_SECONDS
        while True:
            now = held(self._hub)
            if now.files <= before.files and now.tasks <= before.tasks and not now.subscribers:
                return now
            if time.monotonic() > deadline:
                raise Broken(f"left behind after {GONE_SECONDS:.0f} s: {now}; before: {before}")
            time.sleep(1)


def memory_of(samples: Sequence[tuple[float, int]], published: float) -> tuple[float, float, int]:
    """After the warm-up, before the last event came, and the most: of (seconds, bytes)."""
    warm = [size for moment, size in samples if published * WARM_UP <= moment < published]
    part = max(1, len(warm) // 4)
    middle = statistics.median
    return middle(warm[:part]), middle(warm[-part:]), max(size for _, size in samples)


def order(crowd: Connection, name: str, *arguments: Any) -> State:
    """Have a crowd do something. Raises `Broken` if it says that a promise was."""
    with suppress(BrokenPipeError):  # it has ended, and said why
        crowd.send((name, *arguments))
    answer: State | str = crowd.recv()
    if isinstance(answer, str):
        raise Broken(answer)
    return answer
