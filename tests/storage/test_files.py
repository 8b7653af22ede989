"""Files stay open between writes: for a moment, not too many, and not when they were removed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hub.storage import files
from hub.storage.files import OpenFiles
from hub.storage.log import Log
from hub.storage.logfile import Disk


def made(path: Path) -> Path:
    path.touch()
    return path


async def test_a_file_stays_open_for_the_next_write(tmp_path: Path) -> None:
    path, log, open_files = made(tmp_path / "a.tsv"), Log("a-log"), OpenFiles(Disk())
    first = open_files.get(log, path)
    open_files.keep(log)
    open_files.renew(log, begins=True)
    assert open_files.get(log, path) == first
    open_files.close(log)
    assert log.fd is None


async def test_a_file_that_was_removed_is_not_written_to(tmp_path: Path) -> None:
    path, log, open_files = made(tmp_path / "a.tsv"), Log("a-log"), OpenFiles(Disk())
    open_files.get(log, path)
    open_files.keep(log)
    path.unlink()
    open_files.renew(log, begins=True)
    with pytest.raises(FileNotFoundError):
        open_files.get(log, path)


async def test_under_load_a_file_is_opened_anew_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, log, open_files = made(tmp_path / "a.tsv"), Log("a-log"), OpenFiles(Disk())
    open_files.get(log, path)
    open_files.renew(log, begins=False)
    assert log.fd is not None
    monkeypatch.setattr(files, "SECONDS", -1.0)
    open_files.renew(log, begins=False)
    assert log.fd is None


async def test_idle_files_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SECONDS", 0.01)
    before = len(os.listdir("/proc/self/fd"))
    open_files, logs = OpenFiles(Disk(), most=3), [Log(f"log-{n}") for n in range(5)]
    for log in logs:
        open_files.get(log, made(tmp_path / log.name))
        open_files.keep(log)
    assert [log.fd is not None for log in logs] == [True, True, True, False, False]
    logs[0].pending = []  # its writer is at work
    await asyncio.sleep(0.1)
    assert [log.fd is not None for log in logs] == [True, False, False, False, False]
    logs[0].pending = None
    open_files.keep(logs[0])
    await asyncio.sleep(0.1)
    assert logs[0].fd is None
    assert len(os.listdir("/proc/self/fd")) == before
