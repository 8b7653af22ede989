"""All consumers: what is on disk when, what a crash leaves, what limits there are."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from hub.consumers import registry as module
from hub.consumers.checkpoint import Checkpoints
from hub.consumers.registry import END, Consumers
from hub.errors import (
    Closing,
    Conflict,
    InvalidHandler,
    InvalidName,
    TimedOut,
    TooLarge,
    TooManyConsumers,
    UnknownConsumer,
    UnknownStream,
    WriteFailed,
)
from hub.options import Options
from tests.consumers.memory import Memory, halted, payloads, reached
from tests.web.wire import eventually

COUNT = "(e, s) => ({ n: (s.n || 0) + 1 })"
THROW = "(e, s) => { throw new Error('no') }"

Open = Callable[..., Awaitable[Consumers]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".hub" / "consumers"


@pytest.fixture
async def streams() -> Memory:
    return Memory("stream-1", "stream-2")


@pytest.fixture
async def open_consumers(directory: Path, streams: Memory) -> AsyncIterator[Open]:
    """Starts the consumers of a directory; takes options, and another directory."""
    opened: list[Consumers] = []

    async def start(*, at: Path = directory, **options: object) -> Consumers:
        values = {"consumer_workers": 1, **options}
        consumers = Consumers(at, streams, dataclasses.replace(Options(), **values))  # type: ignore[arg-type]
        opened.append(consumers)
        await consumers.start()
        return consumers

    yield start
    for each in opened:
        await each.close()


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def copy_as_a_crash_leaves_it(directory: Path, to: Path) -> Path:
    """What is on disk just now."""
    to.mkdir()
    for path in directory.glob("*.json"):
        (to / path.name).write_bytes(path.read_bytes())
    return to


async def test_a_consumer_is_on_disk_before_anybody_is_told(
    open_consumers: Open, directory: Path, tmp_path: Path, streams: Memory
) -> None:
    consumers = await open_consumers()
    consumer, new = await consumers.put("one", "stream-1", COUNT, Raw(b'{"n": 5}'), 2)
    assert new
    assert (consumer.progress.position, bytes(consumer.progress.state)) == (2, b'{"n":5}')
    left = copy_as_a_crash_leaves_it(directory, tmp_path / "crashed")
    streams["stream-1"].add(*payloads(range(5)))
    again = await open_consumers(at=left)
    assert await reached(again.find("one"), 5) == {"n": 8}


async def test_everything_goes_on_by_itself_after_a_restart(
    open_consumers: Open, streams: Memory
) -> None:
    consumers = await open_consumers()
    streams["stream-1"].add(*payloads(range(100)))
    consumer, _ = await consumers.put("one", "stream-1", COUNT)
    await consumers.put("two", "stream-2", COUNT)
    assert await reached(consumer, 100) == {"n": 100}
    await consumers.close()
    streams["stream-1"].add(*payloads(range(10)))
    streams["stream-2"].add(*payloads(range(10)))
    reads = streams["stream-1"].reads
    again = await open_consumers()
    assert [each.definition.identifier for each in again] == ["one", "two"]
    assert again.find("one").progress.position == 100
    assert await reached(again.find("one"), 110) == {"n": 110}
    assert await reached(again.find("two"), 10) == {"n": 10}
    assert streams["stream-1"].reads <= reads + 2


async def test_each_event_counts_once_after_a_crash(
    open_consumers: Open,
    directory: Path,
    tmp_path: Path,
    streams: Memory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "CHECKPOINT_EVENTS", 200)
    consumers = await open_consumers()
    view = streams["stream-1"]
    consumer, _ = await consumers.put("one", "stream-1", "(e, s) => { s.n = (s.n || 0) + e.n }")
    positions = set()
    for at in range(20):
        view.add(*({"n": 1} for _ in range(100)))
        await reached(consumer, 100 * at + 50)
        left = copy_as_a_crash_leaves_it(directory, tmp_path / f"crashed-{at}")
        _, kept = Checkpoints(left).read("one")
        positions.add(kept.position)
        assert json.loads(bytes(kept.state)) == ({"n": kept.position} if kept.position else {})
        again = await open_consumers(at=left)
        total = view.head()
        assert await reached(again.find("one"), total) == {"n": total}
        await again.close()
    assert len(positions) > 3


async def test_checkpoints_come_by_time(
    open_consumers: Open, directory: Path, streams: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.05)
    consumers = await open_consumers()
    streams["stream-1"].add({"n": 1})
    await consumers.put("one", "stream-1", COUNT)
    await eventually(lambda: Checkpoints(directory).read("one")[1].position == 1)


async def test_what_has_not_changed_is_not_written_again(
    open_consumers: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    consumers = await open_consumers()
    await consumers.put("one", "stream-1", COUNT)
    before = (directory / "one.json").stat()
    await asyncio.sleep(0.1)
    after = (directory / "one.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_one_that_has_stopped_stays_so_until_it_is_put_or_reset(
    open_consumers: Open, streams: Memory
) -> None:
    streams["stream-1"].add({"n": 1})
    consumers = await open_consumers()
    consumer, _ = await consumers.put("one", "stream-1", THROW)
    error = await halted(consumer)
    await consumers.close()
    again = await open_consumers()
    assert again.find("one").progress.error == error == "event 1: Error: no (line 1)"
    assert not again.find("one").running
    await again.reset("one")
    assert await halted(again.find("one")) == error
    assert again.find("one") is (await again.put("one", "stream-1", COUNT))[0]
    assert await reached(again.find("one"), 1) == {"n": 1}


async def test_a_stop_is_on_disk_soon(
    open_consumers: Open,
    directory: Path,
    streams: Memory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 1000)
    streams["stream-1"].add({"n": 1})
    consumers = await open_consumers()
    await consumers.put("one", "stream-1", THROW)
    await eventually(lambda: Checkpoints(directory).read("one")[1].error is not None)


async def test_putting_again_begins_again(open_consumers: Open, streams: Memory) -> None:
    consumers = await open_consumers()
    streams["stream-1"].add(*payloads(range(10)))
    streams["stream-2"].add(*payloads(range(3)))
    consumer, _ = await consumers.put("one", "stream-1", COUNT)
    await reached(consumer, 10)
    same, new = await consumers.put(
        "one", "stream-2", "(e, s) => ({ m: s.m + 1 })", Raw(b'{"m":100}'), 1
    )
    assert (same, new) == (consumer, False)
    assert await reached(consumer, 3) == {"m": 102}
    await consumers.close()
    assert (await open_consumers()).find("one").definition.stream == "stream-2"


async def test_the_one_that_was_replaced_folds_no_more(
    open_consumers: Open, streams: Memory
) -> None:
    consumers = await open_consumers()
    consumer, _ = await consumers.put("one", "stream-1", COUNT)
    for _ in range(3):
        await asyncio.sleep(0.01)
        await consumers.put("one", "stream-1", COUNT)
    for at in range(1, 11):
        streams["stream-1"].add({"n": 1})
        assert await reached(consumer, at) == {"n": at}
    await asyncio.sleep(0.05)
    assert bytes(consumer.progress.state) == b'{"n":10}'
    assert consumer.folded == 10


async def test_the_end_of_a_stream_is_a_start(open_consumers: Open, streams: Memory) -> None:
    consumers = await open_consumers()
    streams["stream-1"].add(*payloads(range(10)))
    consumer, _ = await consumers.put("one", "stream-1", COUNT, start=END)
    assert consumer.progress.position == 10
    streams["stream-1"].add({"n": 1})
    assert await reached(consumer, 11) == {"n": 1}


async def test_a_reset_begins_again(open_consumers: Open, streams: Memory) -> None:
    consumers = await open_consumers()
    streams["stream-1"].add(*payloads(range(10)))
    consumer, _ = await consumers.put("one", "stream-1", COUNT, Raw(b'{"n":1}'), 4)
    assert await reached(consumer, 10) == {"n": 7}
    await consumers.reset("one")
    assert await reached(consumer, 10) == {"n": 7}
    await consumers.reset("one", Raw(b'{"n":100}'), 8)
    assert await reached(consumer, 10) == {"n": 102}
    await consumers.close()
    again = await open_consumers()
    assert await reached(again.find("one"), 10) == {"n": 102}
    await again.reset("one", start=0)
    assert await reached(again.find("one"), 10) == {"n": 110}


async def test_one_that_was_removed_is_gone_for_good(
    open_consumers: Open, directory: Path, streams: Memory
) -> None:
    consumers = await open_consumers()
    consumer, _ = await consumers.put("one", "stream-1", COUNT)
    await consumers.remove("one")
    assert not consumer.running
    assert consumer.removed
    assert files(directory) == []
    for act in (consumers.remove, consumers.reset):
        with pytest.raises(UnknownConsumer):
            await act("one")
    with pytest.raises(UnknownConsumer):
        consumers.find("one")
    streams["stream-1"].add({"n": 1})
    await consumers.close()
    assert len(await open_consumers()) == 0
    assert files(directory) == []


@pytest.mark.parametrize(
    ("identifier", "handler", "state", "stream", "error"),
    [
        ("", COUNT, b"{}", "stream-1", InvalidName),
        ("a/b", COUNT, b"{}", "stream-1", InvalidName),
        ("..", COUNT, b"{}", "stream-1", InvalidName),
        ("a.b", COUNT, b"{}", "stream-1", InvalidName),
        ("ä", COUNT, b"{}", "stream-1", InvalidName),
        ("x" * 101, COUNT, b"{}", "stream-1", InvalidName),
        ("one", "12", b"{}", "stream-1", InvalidHandler),
        ("one", "(e, s) => {", b"{}", "stream-1", InvalidHandler),
        ("one", "() => '\0'", b"{}", "stream-1", InvalidHandler),
        ("one", f"() => '{'x' * 1000}'", b"{}", "stream-1", TooLarge),
        ("one", COUNT, b'{"x":"' + b"x" * 100_000 + b'"}', "stream-1", TooLarge),
        ("one", COUNT, b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "stream-1", InvalidHandler),
        ("one", COUNT, b"{}", "nowhere", UnknownStream),
    ],
)
async def test_what_cannot_be_a_consumer_is_refused_and_leaves_nothing(
    open_consumers: Open,
    directory: Path,
    identifier: str,
    handler: str,
    state: bytes,
    stream: str,
    error: type[Exception],
) -> None:
    consumers = await open_consumers(max_handler_bytes=1000, max_state_bytes=100_000)
    with pytest.raises(error):
        await consumers.put(identifier, stream, handler, Raw(state))
    assert len(consumers) == 0
    assert files(directory) == []
    await consumers.put("x" * 100, "stream-1", COUNT)


async def test_a_bad_replacement_leaves_the_old_one_running(
    open_consumers: Open, streams: Memory
) -> None:
    consumers = await open_consumers()
    consumer, _ = await consumers.put("one", "stream-1", COUNT)
    with pytest.raises(InvalidHandler):
        await consumers.put("one", "stream-1", "12")
    streams["stream-1"].add({"n": 1})
    assert await reached(consumer, 1) == {"n": 1}


async def test_there_is_a_limit_to_their_number(open_consumers: Open) -> None:
    consumers = await open_consumers(max_consumers=3)
    results = await asyncio.gather(
        *(consumers.put(f"c{at}", "stream-1", COUNT) for at in range(6)), return_exceptions=True
    )
    refused = [each for each in results if isinstance(each, TooManyConsumers)]
    assert len(refused) == 3
    assert len(consumers) == 3
    taken = next(iter(consumers)).definition.identifier
    await consumers.put(taken, "stream-1", COUNT)
    await consumers.remove(taken)
    await consumers.put("another", "stream-1", COUNT)


async def test_a_disk_that_refuses_leaves_everything_as_it_was(
    open_consumers: Open, streams: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumers = await open_consumers()
    consumer, _ = await consumers.put("one", "stream-1", COUNT)

    def refuse(*arguments: object) -> None:
        raise WriteFailed("the disk refuses")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "write", refuse)
        patch.setattr(Checkpoints, "remove", refuse)
        for act in (
            consumers.put("one", "stream-2", THROW),
            consumers.put("two", "stream-1", COUNT),
            consumers.reset("one", Raw(b'{"n":7}')),
            consumers.remove("one"),
        ):
            with pytest.raises(WriteFailed):
                await act
    assert len(consumers) == 1
    streams["stream-1"].add({"n": 1})
    assert await reached(consumer, 1) == {"n": 1}


async def test_a_file_has_one_writer_at_a_time_also_at_the_end(
    open_consumers: Open, streams: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    writing: list[str] = []
    write, most = Checkpoints.write, 0

    def slow(*arguments: Any, **named: Any) -> None:
        nonlocal most
        writing.append("one")
        most = max(most, len(writing))
        time.sleep(0.2)
        write(*arguments, **named)
        writing.pop()

    consumers = await open_consumers()
    consumer, _ = await consumers.put("one", "stream-1", COUNT)
    monkeypatch.setattr(Checkpoints, "write", slow)
    streams["stream-1"].add({"n": 1})
    await reached(consumer, 1)
    await eventually(lambda: bool(writing))
    streams["stream-1"].add({"n": 2})
    await reached(consumer, 2)
    await consumers.close()
    assert most == 1
    assert (await open_consumers()).find("one").progress.position == 2


async def test_a_checkpoint_that_fails_is_written_later(
    open_consumers: Open,
    directory: Path,
    streams: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    consumers = await open_consumers()
    consumer, _ = await consumers.put("one", "stream-1", COUNT)
    write, left = Checkpoints.write, [3]

    def fail(*arguments: Any, **named: Any) -> None:
        left[0] -= 1
        if left[0] == 2:
            raise RuntimeError("a mistake")
        if left[0] >= 0:
            raise WriteFailed("the disk refuses")
        write(*arguments, **named)

    monkeypatch.setattr(Checkpoints, "write", fail)
    streams["stream-1"].add({"n": 1})
    assert await reached(consumer, 1) == {"n": 1}
    await eventually(lambda: Checkpoints(directory).read("one")[1].position == 1)
    assert caplog.text.count("consumer one: the disk refuses") == 2
    assert caplog.text.count("RuntimeError: a mistake") == 1


async def test_a_damaged_checkpoint_starts_over_from_the_definition(
    open_consumers: Open, directory: Path, streams: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    consumers = await open_consumers()
    streams["stream-1"].add(*payloads(range(10)))
    consumer, _ = await consumers.put("one", "stream-1", COUNT, Raw(b'{"n":5}'), 3)
    await reached(consumer, 10)
    await consumers.close()
    path = directory / "one.json"
    path.write_bytes(path.read_bytes().replace(b'"n":12', b'"n":99'))
    again = await open_consumers()
    assert "the file of consumer one is damaged: line 2" in caplog.text
    assert await reached(again.find("one"), 10) == {"n": 12}


async def test_events_that_a_power_cut_took_are_not_counted(
    open_consumers: Open, streams: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    consumers = await open_consumers()
    view = streams["stream-1"]
    view.add(*payloads(range(10)))
    for identifier, start in (("one", 2), ("later", 30)):
        await consumers.put(identifier, "stream-1", COUNT, start=start)
    await reached(consumers.find("one"), 10)
    await consumers.close()
    del view.documents[7:], view.numbers[7:]
    view.looked_at = 7
    again = await open_consumers()
    assert "consumer one has folded events that are no longer there" in caplog.text
    assert "consumer later" not in caplog.text
    view.add(*payloads(range(5)))
    assert await reached(again.find("one"), 12) == {"n": 10}
    assert again.find("later").progress.position == 30


async def test_a_directory_that_cannot_be_read_stops_no_hub(
    open_consumers: Open,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    await asyncio.to_thread(directory.mkdir, parents=True)
    monkeypatch.setattr(Path, "iterdir", refuse)
    consumers = await open_consumers()
    assert len(consumers) == 0
    assert "the consumers cannot be read, and none of them runs" in caplog.text


async def test_a_lost_definition_is_listed_and_stops_nobody_else(
    open_consumers: Open, directory: Path, streams: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    consumers = await open_consumers()
    for identifier in ("one", "two"):
        await consumers.put(identifier, "stream-1", COUNT)
    await consumers.close()
    (directory / "one.json").write_bytes(b"\0" * 100)
    streams["stream-1"].add({"n": 1})
    again = await open_consumers()
    assert [each.definition.identifier for each in again] == ["one", "two"]
    assert await reached(again.find("two"), 1) == {"n": 1}
    lost = again.find("one")
    assert lost.progress.error is not None
    assert "damaged" in lost.progress.error
    assert "the file of consumer one is damaged" in caplog.text
    with pytest.raises(Conflict, match="put it again"):
        await again.reset("one")
    await again.close()
    assert (directory / "one.json").read_bytes() == b"\0" * 100
    last = await open_consumers()
    _, new = await last.put("one", "stream-1", COUNT)
    assert not new
    assert await reached(last.find("one"), 1) == {"n": 1}


async def test_waiting_for_an_event(open_consumers: Open, streams: Memory) -> None:
    consumers = await open_consumers(read_timeout=0.2)
    consumer, _ = await consumers.put("one", "stream-1", COUNT)
    with pytest.raises(TimedOut, match=r"did not reach version 1 within 0\.2 s; it is at 0"):
        await consumers.reach("one", 1)
    waiting = [asyncio.ensure_future(consumers.reach("one", 2)) for _ in range(50)]
    await asyncio.sleep(0)
    streams["stream-1"].add({"n": 1}, {"n": 2})
    assert set(await asyncio.gather(*waiting)) == {consumer}
    assert await consumers.reach("one", 0) is consumer
    with pytest.raises(UnknownConsumer):
        await consumers.reach("other", 0)


async def test_nobody_waits_for_one_that_has_stopped_or_is_removed(
    open_consumers: Open, streams: Memory
) -> None:
    consumers = await open_consumers(read_timeout=60)
    await consumers.put("bad", "stream-1", THROW)
    await consumers.put("gone", "stream-1", COUNT)
    waiting = [asyncio.ensure_future(consumers.reach(name, 9)) for name in ("bad", "gone")]
    begun = time.monotonic()
    streams["stream-1"].add({"n": 1})
    with pytest.raises(TimedOut, match="did not reach version 9 and has stopped: event 1"):
        await waiting[0]
    await consumers.remove("gone")
    with pytest.raises(UnknownConsumer):
        await waiting[1]
    assert time.monotonic() - begun < 30


async def test_nobody_waits_for_a_hub_that_closes(open_consumers: Open) -> None:
    consumers = await open_consumers(read_timeout=60)
    await consumers.put("one", "stream-1", COUNT)
    waiting = asyncio.ensure_future(consumers.reach("one", 1))
    await asyncio.sleep(0.01)
    consumers.end()
    with pytest.raises(Closing):
        await waiting
    with pytest.raises(Closing):
        await consumers.put("two", "stream-1", COUNT)


async def test_closing_is_quick_whatever_is_being_folded(
    open_consumers: Open, directory: Path, streams: Memory
) -> None:
    consumers = await open_consumers(consumer_seconds=60.0)
    streams["stream-1"].add(*payloads(range(3)))
    await consumers.put("good", "stream-1", COUNT)
    await reached(consumers.find("good"), 3)
    await consumers.put("bad", "stream-1", "() => { for (;;); }")
    await asyncio.sleep(0.3)
    trying = asyncio.ensure_future(consumers.put("late", "stream-1", COUNT))
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    await consumers.close()
    assert time.monotonic() - begun < 2
    with pytest.raises(Closing):
        await trying
    assert Checkpoints(directory).read("good")[1].position == 3
    assert Checkpoints(directory).read("bad")[1].error is None


async def test_the_failure_of_a_change_that_nobody_waits_for_is_nobodys(
    open_consumers: Open,
) -> None:
    consumers = await open_consumers()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise UnknownConsumer("somebody else has removed it")

    changing = asyncio.ensure_future(consumers._whole(fail()))
    await asyncio.sleep(0)
    changing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await changing
    await eventually(lambda: not consumers._changes)
    gc.collect()
    assert not told


async def test_a_change_that_nobody_waits_for_is_made_whole(
    open_consumers: Open, directory: Path
) -> None:
    consumers = await open_consumers()
    for at in range(10):
        putting = asyncio.ensure_future(consumers.put(f"c{at}", "stream-1", COUNT))
        await asyncio.sleep(0.0005 * at)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
    await consumers.close()
    assert files(directory) == sorted(f"{each.definition.identifier}.json" for each in consumers)
