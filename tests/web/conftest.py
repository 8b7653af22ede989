"""Fixtures for the doors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Client
from tests.web.wire import TSV, post_batch


@pytest.fixture
async def channel(hub: Client, events: Path) -> bytes:
    """A channel of a few kilobytes, with the ids 1 to 59; returns what stands in its file."""
    body = b'1\ta\tone\x0btwo\n2\tb\t{"n": 1.10}\n'
    body += b"".join(b"%d\ta\t%b\n" % (number, b"x" * 50) for number in range(3, 60))
    await post_batch(hub, body, TSV, "/a-channel")
    assert (events / "a-channel.tsv").read_bytes() == body
    return body
