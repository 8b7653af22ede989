"""The events directory: on disk, and one hub's only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub.errors import DirectoryLocked
from hub.storage.directory import Directory
from hub.storage.logfile import Disk


def test_it_is_made_and_each_new_entry_is_on_disk(tmp_path: Path) -> None:
    synced: list[str] = []

    class Watching(Disk):
        def fsync(self, fd: Any) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))

    path = tmp_path / "events" / "deeper"
    directory = Directory(path, Watching())
    directory.take()
    assert (path / ".hub" / "lock").read_text() == f"{os.getpid()}\n"
    assert set(synced) == {str(each) for each in (tmp_path, tmp_path / "events", path)}
    directory.release()
    synced.clear()
    directory.take()
    assert synced == []
    directory.release()


def test_it_has_one_taker(tmp_path: Path) -> None:
    directory, other = Directory(tmp_path, Disk()), Directory(tmp_path, Disk())
    directory.take()
    with pytest.raises(DirectoryLocked, match=f"process {os.getpid()}"):
        other.take()
    other.release()
    with pytest.raises(DirectoryLocked):
        other.take()
    directory.release()
    other.release()
    other.take()
    other.release()
    other.release()


def test_a_shorter_process_number_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    directory = Directory(tmp_path, Disk())
    directory.take()
    directory.release()
    (tmp_path / ".hub" / "lock").write_text("123456789012345\n")
    directory.take()
    assert (tmp_path / ".hub" / "lock").read_text() == f"{os.getpid()}\n"
    directory.release()


def test_children_do_not_keep_the_lock(tmp_path: Path) -> None:
    directory = Directory(tmp_path, Disk())
    directory.take()
    code = "print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        directory.release()
        again = Directory(tmp_path, Disk())
        again.take()
        again.release()
        child.communicate(b"\n")
