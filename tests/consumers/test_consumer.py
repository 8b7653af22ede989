"""One consumer: what it serves, whatever its handler, its stream or its sandbox do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from hub.consumers import consumer as module
from hub.consumers.checkpoint import Definition, Progress
from hub.consumers.consumer import FIRST_BATCH, MOST_BATCH, Consumer
from hub.consumers.messages import Limits
from hub.consumers.pool import Pool
from hub.consumers.source import Piece
from hub.errors import ReadFailed, UnknownStream
from tests.consumers.memory import PATIENCE, Memory, halted, payloads, reached, until
from tests.web.wire import eventually

LIMITS = Limits(seconds=0.3, memory=32 * 2**20, state=100_000)
SUM = "(e, s) => { s.sum = (s.sum || 0) + e.n; s.count = (s.count || 0) + 1 }"

Start = Callable[..., Consumer]


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(1, LIMITS)
    yield pool
    await pool.close()


@pytest.fixture
async def streams() -> Memory:
    return Memory()


@pytest.fixture
async def start(pool: Pool, streams: Memory) -> AsyncIterator[Start]:
    """Starts a consumer of `stream-1`."""
    started: list[Consumer] = []

    def start(handler: str, at: int = 0, state: object = None) -> Consumer:
        kept = Raw(json.dumps(state or {}).encode())
        consumer = Consumer(
            Definition("one", "stream-1", at, handler, kept), Progress(at, at, kept), pool, streams
        )
        consumer.start()
        started.append(consumer)
        return consumer

    yield start
    for each in started:
        await each.stop()


async def test_it_folds_what_is_there_and_what_comes(start: Start, streams: Memory) -> None:
    streams["stream-1"].add(*payloads(range(1, 1001)))
    consumer = start(SUM)
    assert await reached(consumer, 1000) == {"sum": 500_500, "count": 1000}
    streams["stream-1"].add({"n": 1})
    assert await reached(consumer, 1001) == {"sum": 500_501, "count": 1001}


async def test_events_before_its_start_count_as_seen(start: Start, streams: Memory) -> None:
    streams["stream-1"].add(*payloads(range(1, 11)))
    consumer = start(SUM, 7, {"sum": 100})
    assert consumer.progress.position == 7
    assert await reached(consumer, 10) == {"sum": 127, "count": 3}


async def test_a_start_that_lies_ahead_is_waited_for(start: Start, streams: Memory) -> None:
    consumer = start(SUM, 3)
    streams["stream-1"].add(*payloads(range(1, 6)))
    assert await reached(consumer, 5) == {"sum": 9, "count": 2}


async def test_numbers_with_gaps_are_positions(start: Start, streams: Memory) -> None:
    view = streams["stream-1"]
    view.add({"n": 1}, at=5)
    view.add({"n": 2}, at=9)
    view.pass_over(20)
    consumer = start(SUM)
    assert await reached(consumer, 9) == {"sum": 3, "count": 2}
    view.pass_over(30)
    await asyncio.sleep(0.05)
    assert consumer.progress.position == 9
    assert consumer.progress.seen == 30
    view.add({"n": 4}, at=31)
    assert await reached(consumer, 31) == {"sum": 7, "count": 3}


async def test_position_and_state_are_never_apart(start: Start, streams: Memory) -> None:
    view = streams["stream-1"]
    consumer = start("(e, s) => ({ last: e.n })")
    seen = 0

    async def watch() -> None:
        nonlocal seen
        while seen < 3000:
            await consumer.change()
            now = consumer.progress
            assert json.loads(bytes(now.state)) == {"last": now.position}
            assert now.position >= seen
            seen = now.position

    watching = asyncio.ensure_future(watch())
    for first in range(1, 3001, 100):
        view.add(*payloads(range(first, first + 100)))
        await asyncio.sleep(0.002)
    await asyncio.wait_for(watching, 30)


@pytest.mark.parametrize("bad", [1, 2, 63, 64, 65, 500, 1000])
@pytest.mark.parametrize(
    ("handler", "text"),
    [
        ("(e, s) => { s.sum += e.n; s.count++; if (e.bad) throw new Error('bad') }", "Error: bad"),
        ("(e, s) => { s.sum += e.n; s.count++; if (e.bad) s.nan = NaN }", "NaN"),
        ("(e, s) => { s.sum += e.n; s.count++; if (e.bad) s.much = 'x'.repeat(1e6) }", "limit"),
    ],
)
async def test_what_is_served_is_the_state_before_the_event_that_failed(
    start: Start, streams: Memory, bad: int, handler: str, text: str
) -> None:
    events = payloads(range(1, 1001))
    events[bad - 1]["bad"] = 1
    streams["stream-1"].add(*events)
    consumer = start(handler, 0, {"sum": 0, "count": 0})
    error = await halted(consumer)
    assert error.startswith(f"event {bad}: ")
    assert text in error
    progress = consumer.progress
    assert progress.position == bad - 1
    assert json.loads(bytes(progress.state)) == {"sum": bad * (bad - 1) // 2, "count": bad - 1}
    await asyncio.sleep(0.05)
    assert not consumer.running
    streams["stream-1"].add({"n": 1})
    await asyncio.sleep(0.05)
    assert consumer.progress is progress


@pytest.mark.parametrize("bad", [1, 30, 100])
@pytest.mark.parametrize(
    ("act", "text"),
    [
        ("for (;;);", "longer than 0.3 s"),
        ("const a = []; for (;;) a.push(new Array(1000).fill(1))", "memory|crashed|longer"),
        ("'a'.repeat(2e6).indexOf('a'.repeat(1e6) + 'b')", "its time was up"),
        ("(function f() { f() })()", "Maximum call stack size exceeded"),
    ],
)
async def test_what_takes_too_much_stops_it_at_its_event(
    start: Start, streams: Memory, bad: int, act: str, text: str
) -> None:
    events = payloads(range(1, 121))
    events[bad - 1]["bad"] = 1
    streams["stream-1"].add(*events)
    handler = f"(e, s) => {{ s.sum += e.n; if (e.bad) {{ {act} }} }}"
    consumer = start(handler, 0, {"sum": 0})
    error = await halted(consumer)
    assert error.startswith(f"event {bad}: ")
    assert any(each in error for each in text.split("|"))
    assert consumer.progress.position == bad - 1
    assert json.loads(bytes(consumer.progress.state)) == {"sum": bad * (bad - 1) // 2}


async def test_one_that_is_slow_is_not_stopped(start: Start, streams: Memory) -> None:
    # 50 ms for each: a first batch would take ten times its limit.
    busy = "(e, s) => { s.n = (s.n || 0) + 1; for (let i = 0; i < 1.5e6; i++); }"
    streams["stream-1"].add(*payloads(range(FIRST_BATCH)))
    consumer = start(busy)
    assert await reached(consumer, FIRST_BATCH) == {"n": FIRST_BATCH}
    assert consumer.progress.error is None


async def test_the_end_of_its_process_costs_no_event_and_doubles_none(
    start: Start, streams: Memory, pool: Pool
) -> None:
    view = streams["stream-1"]
    consumer = start(SUM)
    for first in range(1, 2001, 50):
        view.add(*payloads(range(first, first + 50)))
        await asyncio.sleep(0.004)
        for worker in pool._workers:
            if worker._process is not None and first % 200 == 1:
                os.kill(worker._process.pid, signal.SIGKILL)
    assert await reached(consumer, 2000) == {"sum": 2_001_000, "count": 2000}


async def folding(pool: Pool) -> int:
    """The process of a worker that folds just now."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for each in pool._workers:
                process = each._process
                if each not in pool._free and each._socket is not None and process is not None:
                    await asyncio.sleep(0.01)
                    return process.pid
            await asyncio.sleep(0.002)


async def test_the_end_of_its_process_is_not_one_events_fault(
    start: Start, streams: Memory, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = start("(e, s) => { s.n = (s.n || 0) + 1; for (let i = 0; i < 3e6; i++); }")
    for number in range(1, 6):
        streams["stream-1"].add({"n": number})
        os.kill(await folding(pool), signal.SIGKILL)
        assert await reached(consumer, number) == {"n": number}
    assert "event 5: the system ended the sandbox" in caplog.text


async def test_an_event_that_ends_each_process_stops_it(
    start: Start, streams: Memory, pool: Pool
) -> None:
    streams["stream-1"].add({"n": 1}, {"bad": 1}, {"n": 3})
    consumer = start("(e, s) => { s.n = (s.n || 0) + 1; if (e.bad) for (;;); }")

    async def kill() -> None:
        while True:
            pid = await folding(pool)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    killing = asyncio.ensure_future(kill())
    assert (await halted(consumer)).startswith("event 2: the system ended the sandbox")
    killing.cancel()
    assert consumer.progress.position == 1
    assert bytes(consumer.progress.state) == b'{"n":1}'


async def test_batches_grow_where_events_are_cheap(start: Start, streams: Memory) -> None:
    view = streams["stream-1"]
    view.add(*payloads(range(1, 20_001)))
    consumer = start(SUM)
    await reached(consumer, 20_000)
    assert FIRST_BATCH < consumer._size <= MOST_BATCH
    assert view.reads < 100


async def test_large_events_come_in_small_batches(
    start: Start, streams: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 100_000)
    sizes = []
    fold = Pool.fold

    async def noting(pool: Pool, work: object) -> object:
        sizes.append(len(work.documents))  # type: ignore[attr-defined]
        return await fold(pool, work)  # type: ignore[arg-type]

    monkeypatch.setattr(Pool, "fold", noting)
    streams["stream-1"].add(*({"n": 1, "pad": "x" * 30_000} for _ in range(100)))
    consumer = start(SUM)
    assert await reached(consumer, 100) == {"sum": 100, "count": 100}
    assert max(sizes) <= 3


async def test_large_events_behind_small_ones_are_not_read_at_once(
    start: Start, streams: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 100_000)
    view, sizes = streams["stream-1"], []
    read = view.read

    async def noting(after: int, limit: int, size: int) -> Piece:
        piece = await read(after, limit, size)
        sizes.append(piece.size)
        return piece

    monkeypatch.setattr(view, "read", noting)
    view.add(*payloads([1] * 5000))
    view.add(*({"n": 1, "pad": "x" * 30_000} for _ in range(100)))
    consumer = start(SUM)
    assert await reached(consumer, 5100) == {"sum": 5100, "count": 5100}
    assert max(sizes) < 100_000 + 31_000


async def test_a_handler_that_is_none_any_more_stops_it(start: Start, streams: Memory) -> None:
    streams["stream-1"].add({"n": 1})
    consumer = start("not a function")
    assert "SyntaxError" in await halted(consumer)
    assert consumer.progress.position == 0


async def test_a_stream_that_is_gone_stops_it(start: Start, streams: Memory) -> None:
    streams["stream-1"].add({"n": 1})
    streams["stream-1"].failing = UnknownStream("there is no stream 'stream-1'")
    consumer = start(SUM)
    assert await halted(consumer) == "there is no stream 'stream-1'"


async def test_a_read_that_fails_is_tried_again(
    start: Start,
    streams: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    view = streams["stream-1"]
    view.add({"n": 1})
    view.failing = ReadFailed("the disk is gone")
    consumer = start(SUM)
    await eventually(lambda: view.reads >= 4)
    assert consumer.progress.error is None
    view.failing = None
    assert await reached(consumer, 1) == {"sum": 1, "count": 1}
    assert "the disk is gone; trying again in 0.01 s" in caplog.text
    assert "trying again in 0.04 s" in caplog.text


async def test_a_mistake_of_the_hub_does_not_end_it_in_silence(
    start: Start, streams: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    streams["stream-1"].add({"n": 1})
    streams["stream-1"].failing = RuntimeError("a mistake")
    assert "a mistake" in await halted(start(SUM))
    assert "Traceback" in caplog.text


async def test_one_that_has_an_error_does_not_start(pool: Pool, streams: Memory) -> None:
    streams["stream-1"].add({"n": 1})
    definition = Definition("one", "stream-1", 0, SUM, Raw(b"{}"))
    consumer = Consumer(definition, Progress(0, 0, Raw(b"{}"), "it broke"), pool, streams)
    consumer.start()
    assert not consumer.running
    await consumer.stop()


async def test_it_can_be_stopped_and_be_another(start: Start, streams: Memory) -> None:
    view = streams["stream-1"]
    view.add(*payloads(range(1, 5001)))
    consumer = start(SUM)
    await until(consumer, lambda: consumer.progress.position)
    await consumer.stop()
    consumer.begin(
        Definition("one", "stream-1", 4990, "(e, s) => ({ last: e.n })", Raw(b"{}")),
        Progress(4990, 4990, Raw(b"{}")),
    )
    assert consumer.progress.position == 4990
    consumer.start()
    assert await reached(consumer, 5000) == {"last": 5000}


_events = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["add"] * 12 + ["throw", "nan"])), max_size=150
)


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(events=_events, cuts=st.lists(st.integers(0, 150), max_size=4))
async def test_it_is_the_same_fold_wherever_batches_begin(
    pool: Pool, events: list[tuple[int, str]], cuts: list[int]
) -> None:
    streams = Memory()
    handler = """(e, s) => {
        s.sum += e.n;
        if (e.act === 'throw') throw new Error('thrown');
        if (e.act === 'nan') s.sum = NaN;
        (s.seen ??= []).push(e.n);
    }"""
    bad = next((at for at, (_, act) in enumerate(events) if act != "add"), len(events))
    good = [n for n, _ in events[:bad]]
    start = Raw(b'{"sum":0}')
    consumer = Consumer(
        Definition("one", "stream-1", 0, handler, start), Progress(0, 0, start), pool, streams
    )
    consumer.start()
    try:
        edges = sorted({min(each, len(events)) for each in cuts} | {0, len(events)})
        for begin, end in pairwise(edges):
            streams["stream-1"].add(*({"n": n, "act": act} for n, act in events[begin:end]))
            await asyncio.sleep(0)
        if bad < len(events):
            assert (await halted(consumer)).startswith(f"event {bad + 1}: ")
        else:
            await reached(consumer, len(events))
        expected: dict[str, object] = {"sum": sum(good)}
        if good:
            expected["seen"] = good
        assert json.loads(bytes(consumer.progress.state)) == expected
        assert consumer.progress.position == bad
    finally:
        await consumer.stop()
