"""Files that are whole at any time."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hub.client import InvalidFile
from hub.client.keeping import Keeper
from tests.process import wait_until


async def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "place")
    assert keeper.load(dict[str, int]) is None
    await keeper.save(b'{"a":1}')
    assert keeper.load(dict[str, int]) == {"a": 1}
    keeper.save_now(b'{"a":2}')
    assert Keeper(str(tmp_path / "place")).load(dict[str, int]) == {"a": 2}
    assert [each.name for each in tmp_path.iterdir()] == ["place"]  # noqa: ASYNC240


async def test_a_program_that_goes_elsewhere_keeps_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    keeper = Keeper("place")
    monkeypatch.chdir(tmp_path / "elsewhere")
    keeper.save_now(b"1")
    assert (tmp_path / "place").read_bytes() == b"1"


async def test_an_older_save_that_is_late_does_not_win(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "place")
    with keeper._lock:
        late = asyncio.create_task(keeper.save(b"1"))
        await asyncio.sleep(0.05)  # its thread waits
        late.cancel()
    keeper.save_now(b"2")
    await asyncio.sleep(0.1)
    assert keeper.load(int) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a":"text"}', b"\xff"])
def test_a_file_of_something_else_is_refused_and_stays(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidFile, match=r"notes\.txt is not what this program keeps there"):
        Keeper(path).load(dict[str, int])
    assert path.read_bytes() == content


def test_what_the_system_refuses_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="cannot be read"):
        Keeper(tmp_path).load(int)
    with pytest.raises(InvalidFile, match="cannot be written"):
        Keeper(tmp_path / "missing" / "place").save_now(b"1")


_SAVES = """
import sys
from hub.client.keeping import Keeper
keeper = Keeper(sys.argv[1])
for number in range(10**9):
    keeper.save_now(b"[%d,%b]" % (number, b",".join([b"%d" % number] * 20000)))
"""


def test_a_program_that_is_killed_leaves_one_content_whole(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "place")
    for turn in range(5):
        before = keeper.path.read_bytes() if turn else b""
        process = subprocess.Popen([sys.executable, "-c", _SAVES, str(keeper.path)])

        def works(before: bytes = before) -> bool:
            return keeper.path.exists() and keeper.path.read_bytes() != before

        wait_until(works, "the program saves")
        time.sleep(random.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found: list[Any] | None = keeper.load(list[Any])
        assert found is not None
        assert len(found) == 20001
        assert len(set(found)) == 1
    json.loads(keeper.path.read_text())
