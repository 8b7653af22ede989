"""A store of streams, without HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.engines.files import FilesEngine
from hub.options import Durability
from hub.streams import Streams
from tests.streams.writing import Writing


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[FilesEngine]:
    """An engine over a directory of its own."""
    engine = FilesEngine(tmp_path / "events", Durability.OS)
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
async def streams(engine: FilesEngine) -> AsyncIterator[Streams]:
    """The streams of the engine."""
    streams = Streams(engine, 30.0)
    yield streams
    streams.close()


@pytest.fixture
def writing(engine: FilesEngine, streams: Streams) -> Writing:
    """Whoever writes to it."""
    return Writing(engine, streams)
