"""The thread of the index: one thing at a time, to its end; checkpoints now and then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.storage import indexthread as module
from hub.storage.index import Index
from hub.storage.indexthread import IndexThread
from tests.web.wire import eventually


@pytest.fixture
async def thread(tmp_path: Path) -> AsyncIterator[IndexThread]:
    made = IndexThread(Index(tmp_path / "index.sqlite"))
    yield made
    await made.close()


async def test_what_is_begun_is_done_though_nobody_waits(thread: IndexThread) -> None:
    gate, done = threading.Event(), threading.Event()

    def work() -> None:
        assert gate.wait(10)
        done.set()

    assert not thread.busy
    working = asyncio.ensure_future(thread.do(work))
    await asyncio.sleep(0.01)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert thread.busy
    gate.set()
    assert await thread.do(done.is_set)
    assert not thread.busy


async def test_what_fails_is_told(thread: IndexThread) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await thread.do(int, "x")
    assert not thread.busy


async def test_a_long_log_is_checkpointed_and_not_again_at_once(
    thread: IndexThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    long = True
    monkeypatch.setattr(Index, "is_long", lambda self: long)
    monkeypatch.setattr(
        Index, "checkpoint", lambda self: called.append(threading.current_thread().name)
    )

    async def tidy() -> None:
        thread.tidy()
        await eventually(lambda: thread._checkpoint is None)

    for _ in range(5):
        await tidy()
    assert called == ["hub-index_0"]
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0)
    thread._next_checkpoint = 0
    for _ in range(2):
        await tidy()
    assert called == ["hub-index_0"] * 3
    long = False
    await tidy()
    assert len(called) == 3


async def test_closing_waits_for_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = IndexThread(Index(tmp_path / "index.sqlite"))
    gate, done = threading.Event(), threading.Event()

    def checkpoint(index: Index) -> None:
        assert gate.wait(10)
        done.set()

    monkeypatch.setattr(Index, "is_long", lambda self: True)
    monkeypatch.setattr(Index, "checkpoint", checkpoint)
    thread.tidy()
    await asyncio.sleep(0.01)
    asyncio.get_running_loop().call_later(0.02, gate.set)
    await thread.close()
    assert done.is_set()
