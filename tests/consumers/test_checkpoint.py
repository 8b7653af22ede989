"""Checkpoints: replaced whole, and found out when they are not what was written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import pytest
from msgspec import Raw

from hub.consumers.checkpoint import Checkpoints, Damaged, Definition, Progress
from hub.errors import DiskFull, WriteFailed

DEFINITION = Definition("one", "orders-1", 3, '(e, s) => "ä\n€"', Raw(b'{"n":0}'))
PROGRESS = Progress(7, 9, Raw(b'{"n":1,"text":"\\n"}'), None)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / ".hub" / "consumers")


def path_of(checkpoints: Checkpoints) -> Path:
    return checkpoints.directory / "one.json"


def found(checkpoints: Checkpoints) -> tuple[Definition | None, Progress | None]:
    """What can be read of the file."""
    try:
        return checkpoints.read("one")
    except Damaged as damage:
        return damage.definition, None


@pytest.mark.parametrize(
    "progress",
    [
        PROGRESS,
        Progress(0, 0, Raw(b"null")),
        Progress(7, 7, Raw(b"[1]"), "event 8: Error: no\nmore"),
    ],
)
def test_what_was_written_is_read(checkpoints: Checkpoints, progress: Progress) -> None:
    checkpoints.write(DEFINITION, PROGRESS)
    checkpoints.write(DEFINITION, progress)
    assert checkpoints.read("one") == (DEFINITION, progress)
    assert list(checkpoints.identifiers()) == ["one"]
    assert os.listdir(checkpoints.directory) == ["one.json"]
    assert path_of(checkpoints).read_bytes().count(b"\n") == 2


def test_there_are_none_before_the_first(checkpoints: Checkpoints) -> None:
    assert list(checkpoints.identifiers()) == []
    assert not checkpoints.directory.exists()


def test_one_that_was_removed_is_gone(checkpoints: Checkpoints) -> None:
    checkpoints.write(DEFINITION, PROGRESS)
    checkpoints.remove("one")
    assert list(checkpoints.identifiers()) == []
    checkpoints.remove("one")
    with pytest.raises(Damaged, match="cannot be read"):
        checkpoints.read("one")


def test_what_a_crash_left_is_removed_and_what_is_not_ours_left_alone(
    checkpoints: Checkpoints,
) -> None:
    checkpoints.write(DEFINITION, PROGRESS)
    (checkpoints.directory / "one.tmp").write_bytes(b"half")
    (checkpoints.directory / "README").write_bytes(b"")
    (checkpoints.directory / "not an identifier.json").write_bytes(b"")
    assert list(checkpoints.identifiers()) == ["one"]
    assert not (checkpoints.directory / "one.tmp").exists()
    assert (checkpoints.directory / "README").exists()


def test_every_byte_that_changes_is_noticed(checkpoints: Checkpoints) -> None:
    checkpoints.write(DEFINITION, PROGRESS)
    path = path_of(checkpoints)
    whole = path.read_bytes()
    first = whole.index(b"\n")
    for at in range(len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert found(checkpoints) in (
            (DEFINITION, PROGRESS),  # it was a bracket between what is checked
            (DEFINITION if at > first else None, None),
        ), at


def test_every_cut_is_noticed(checkpoints: Checkpoints) -> None:
    checkpoints.write(DEFINITION, PROGRESS)
    path = path_of(checkpoints)
    whole = path.read_bytes()
    first = whole.index(b"\n")
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged) as damage:
            checkpoints.read("one")
        assert damage.value.definition == (DEFINITION if length >= first else None), length


def test_the_file_of_another_is_not_taken(checkpoints: Checkpoints) -> None:
    checkpoints.write(DEFINITION, PROGRESS)
    path_of(checkpoints).rename(checkpoints.directory / "other.json")
    with pytest.raises(Damaged, match="another consumer"):
        checkpoints.read("other")


def test_it_is_synced_before_it_takes_its_place_and_the_directory_after(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace, unlink = os.fsync, os.replace, Path.unlink

    def synced(fd: int) -> None:
        name = os.readlink(f"/proc/self/fd/{fd}")
        calls.append(f"sync {Path(name).name}")
        fsync(fd)

    def replaced(source: Any, target: Any) -> None:
        calls.append(f"replace {Path(source).name} {Path(target).name}")
        replace(source, target)

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        calls.append(f"unlink {path.name}")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(Path, "unlink", unlinked)
    checkpoints.write(DEFINITION, PROGRESS)
    checkpoints.remove("one")
    written = ["sync one.tmp", "replace one.tmp one.json", "sync consumers"]
    assert calls == ["sync .hub", *written, "unlink one.json", "sync consumers"]
    del calls[:]
    checkpoints.write(DEFINITION, PROGRESS, lasting=False)
    assert calls == written[:2]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, WriteFailed)],
)
def test_a_write_that_fails_leaves_the_file_as_it_was(
    checkpoints: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    kind: type[Exception],
) -> None:
    checkpoints.write(DEFINITION, PROGRESS)

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(kind, match="could not be kept"):
            checkpoints.write(DEFINITION, Progress(8, 9, Raw(b"{}")))
    assert checkpoints.read("one") == (DEFINITION, PROGRESS)
    assert os.listdir(checkpoints.directory) == ["one.json"]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("change", ["write", "remove"])
def test_a_change_that_is_not_on_disk_is_taken_back(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, before: bool, change: str
) -> None:
    checkpoints.write(DEFINITION, PROGRESS)
    if not before:
        checkpoints.remove("one")
    fsync = os.fsync
    failed = 0

    def fail(fd: int) -> None:
        nonlocal failed
        if S_ISDIR(os.fstat(fd).st_mode) and not failed:
            failed += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail)
    changes: dict[str, Callable[[], None]] = {
        "write": lambda: checkpoints.write(DEFINITION, Progress(8, 9, Raw(b"{}"))),
        "remove": lambda: checkpoints.remove("one"),
    }
    with pytest.raises(WriteFailed, match=r"could not be kept: Input/output error$"):
        changes[change]()
    assert list(checkpoints.identifiers()) == ["one"] * before
    if before:
        assert checkpoints.read("one") == (DEFINITION, PROGRESS)


def test_a_change_that_cannot_be_taken_back_either_is_told(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.write(DEFINITION, PROGRESS)
    fsync = os.fsync
    broken = False

    def fail(fd: int) -> None:
        nonlocal broken
        if broken or S_ISDIR(os.fstat(fd).st_mode):
            broken = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WriteFailed, match="nor could it be taken back"):
        checkpoints.write(DEFINITION, Progress(8, 9, Raw(b"{}")))
    assert os.listdir(checkpoints.directory) == ["one.json"]


def test_a_directory_that_is_not_on_disk_is_made_again(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    synced: list[str] = []

    def fail(fd: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        if len(synced) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WriteFailed):
        checkpoints.write(DEFINITION, PROGRESS)
    checkpoints.write(DEFINITION, PROGRESS)
    assert synced[:2] == [".hub", ".hub"]
