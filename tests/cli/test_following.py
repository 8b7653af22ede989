"""Following: what is there and what comes, as one, told apart from a log that became another."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import aclosing

import pytest

from hub.cli.following import follow
from hub.cli.sources import Part, find
from hub.client.connection import Connection
from tests.conftest import RunHub
from tests.storage import damage


@pytest.mark.parametrize("form", ["tsv", "ndjson"])
async def test_a_log_that_becomes_another_one_is_told_and_read_anew(
    form: str, run_hub: RunHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = await asyncio.to_thread(run_hub, "--retry", "50")
    await asyncio.to_thread(damage.ask, hub, "/replaced", b"x\t\told\ny\t\told\n", TSV)
    connection = Connection(hub.url)
    try:
        source = await find(connection, "replaced")
        chunks = follow(connection, source, Part(tail=10), form)
        async with aclosing(chunks):
            assert (await anext(chunks)).count(b"old") == 2
            coming = asyncio.ensure_future(anext(chunks))
            await asyncio.sleep(0.5)
            await asyncio.to_thread(hub.stop)
            shutil.rmtree(hub.events)
            await asyncio.to_thread(hub.start)
            await asyncio.to_thread(damage.ask, hub, "/replaced", b"z\t\tnew\n", TSV)
            assert await asyncio.wait_for(coming, 30) == b""
            assert b"new" in await asyncio.wait_for(anext(chunks), 30)
    finally:
        await connection.close()
    assert "replaced: it does not know the place any more" in capsys.readouterr().err


TSV = "text/tab-separated-values"
