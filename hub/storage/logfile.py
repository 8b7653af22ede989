"""Log files as bytes: append, read, cut, sync. Every file call of a log is made here.

Must not know events: crash tests of this module need no server. All functions
block and belong on a worker thread. A file's *good length* is the caller's
knowledge; bytes behind it are never shown to anybody.

The write path follows Redis `aof.c` (what fails is cut back before anyone is
answered) and etcd `wal` (a torn tail and damage elsewhere are told apart).

A group of several lines must come back whole or not at all after a crash,
though a TSV line has no room for a mark. Therefore its first byte is written
last: until the rest is synced a NUL stands in its place, which no line of a
log may begin with. Recovery cuts from such a NUL to the end.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

BLOCK = 4096
"""Bytes: what is written again after a failed sync starts at a multiple of this."""

UNFINISHED = b"\0"
"""Stands for the first byte of a group of lines until the group is whole."""

# A write that fails with these has not come to its sync.
_REFUSED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FileChanged(Exception):
    """The file is longer or shorter than its good length; `size` is what it has."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class Unsynced(Exception):
    """It is not known what of the file is on disk: no writes until it is reopened.

    If it is `uncut`, some of what was refused is still in it.
    """

    def __init__(self, cause: OSError, *, uncut: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.uncut = uncut


def _pwritev(fd: int, data: tuple[memoryview | bytes], at: int, flags: int) -> int:
    try:
        return os.pwritev(fd, data, at, flags)
    except OSError as error:
        if not flags or error.errno != errno.EOPNOTSUPP:
            raise
    written = os.pwritev(fd, data, at, 0)  # some sandboxes, as gVisor, know no flags
    os.fdatasync(fd)
    return written


class Disk:
    """The operating system's calls, as one object so that tests can make the n-th one fail."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    pwritev = staticmethod(_pwritev)
    pwrite = staticmethod(os.pwrite)
    pread = staticmethod(os.pread)
    lseek = staticmethod(os.lseek)
    fstat = staticmethod(os.fstat)
    ftruncate = staticmethod(os.ftruncate)
    fdatasync = staticmethod(os.fdatasync)
    fsync = staticmethod(os.fsync)
    replace = staticmethod(os.replace)
    unlink = staticmethod(os.unlink)


class ReadTooMuch(Exception):
    """A `Reading` has come to its end."""


class Reading(Disk):
    """A disk for reading that ends soon, by an `OSError`, once it is `abandoned`.

    Of more than `left` bytes the rest is not read, but raises `ReadTooMuch`.
    """

    def __init__(self, disk: Disk, left: int = sys.maxsize) -> None:
        self._disk = disk
        self.left = left
        self.abandoned = False

    def open(self, path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        return self._disk.open(path, flags, mode, **rest)

    def close(self, fd: int) -> None:
        self._disk.close(fd)

    def pread(self, fd: Any, size: int, at: int) -> bytes:
        self.go_on()
        self.left -= size
        if self.left < 0:
            raise ReadTooMuch
        return self._disk.pread(fd, size, at)

    def go_on(self) -> None:
        """Raise if it is abandoned."""
        if self.abandoned:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


@contextmanager
def opened(disk: Disk, path: Path | str, flags: int) -> Iterator[int]:
    """A file descriptor for the length of a `with`."""
    fd = disk.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        yield fd
    finally:
        close(disk, fd)


def close(disk: Disk, fd: int) -> None:
    """Let go of a descriptor. An error tells nothing: what had to be on disk was synced."""
    with suppress(OSError):
        disk.close(fd)


def open_for_append(disk: Disk, path: Path, *, new: bool = False, sync: bool = False) -> int:
    """A descriptor for `append`; the caller closes it.

    A `new` file is made unless it is there; with `sync` its directory entry is
    on disk afterwards. When that fails, a file that was made here is gone again:
    its name would be taken by nobody.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    made = False
    if new:
        try:
            fd = disk.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            made = True
        except FileExistsError:
            fd = disk.open(path, flags | os.O_CREAT, 0o644)
    else:
        fd = disk.open(path, flags, 0o644)
    if new and sync:
        try:
            sync_directory(disk, path.parent)
        except OSError:
            if made:
                _unmake(disk, fd, path)
            close(disk, fd)
            raise
    return fd


def _unmake(disk: Disk, fd: int, path: Path) -> None:
    """Take a new file away, unless somebody has written to it already."""
    with suppress(OSError):
        if not disk.fstat(fd).st_size:
            disk.unlink(path)


def is_removed(disk: Disk, fd: int) -> bool:
    """Whether an open file has no name any more: what is written to it would be lost."""
    return disk.fstat(fd).st_nlink == 0


def sync_directory(disk: Disk, path: Path) -> None:
    """Put a directory's entries on disk."""
    with opened(disk, path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        disk.fsync(fd)


def append(disk: Disk, fd: int, good: int, data: bytes, *, sync: bool) -> int:
    """Append `data` behind the good length; return the new good length.

    `fd` is from `open_for_append`. With `sync` the data is on disk on return:
    it is written and synced in one call, so a thread waits for the interpreter
    once. Raises `FileChanged`, with nothing of this left in the file, if
    somebody else wrote to it; `OSError` after a failed write, with the file
    cut back; `Unsynced` if a sync failed, or the cutting back did.
    """
    try:
        return _write_all(disk, fd, good, good, data, os.RWF_DSYNC if sync else 0)
    except OSError as error:
        _cut_back(disk, fd, good, sync)
        if sync and error.errno not in _REFUSED:
            raise Unsynced(error) from error  # it may have been the sync that failed
        raise


def append_group(
    disk: Disk, fd: int, path: Path, good: int, chunks: Iterable[bytes], *, sync: bool
) -> int:
    """Like `append`, for lines of which a crash must leave all or none."""
    end, first = good, b""
    try:
        for chunk in chunks:
            if not first:
                first, chunk = chunk[:1], UNFINISHED + chunk[1:]
            end = _write_all(disk, fd, good, end, chunk, 0)
        if sync:
            _sync(disk, fd)
        _finish(disk, path, good, first)
        if sync:
            _sync(disk, fd)
    except (OSError, Unsynced):
        _cut_back(disk, fd, good, sync)
        raise
    return end


def _write_all(disk: Disk, fd: int, good: int, end: int, data: bytes, flags: int) -> int:
    """Write `data` at `end`, of a group that begins at `good`; return where it ends."""
    rest = memoryview(data)
    while rest:
        written = disk.pwritev(fd, (rest,), -1, flags)  # -1: at the end, which lseek() then tells
        at = disk.lseek(fd, 0, os.SEEK_CUR) - written
        if at != end:
            raise FileChanged(_make_way(disk, fd, good, end, at))
        end += written
        rest = rest[written:]
    return end


def _make_way(disk: Disk, fd: int, good: int, end: int, at: int) -> int:
    """Take out what is ours, and leave what somebody else wrote; return the file's size.

    What we wrote last stands at `at`, not at `end` where what we had written
    before of this group ended: between the two is theirs.
    """
    if good < end < at:
        theirs = disk.pread(fd, at - end, end)
        disk.ftruncate(fd, good)
        return good + disk.pwritev(fd, (theirs,), -1, 0)
    size = at if end == good else min(at, good)
    disk.ftruncate(fd, size)
    return size


def _finish(disk: Disk, path: Path, at: int, first: bytes) -> None:
    # Another descriptor: on one with O_APPEND, Linux' pwrite() appends.
    with opened(disk, path, os.O_WRONLY) as fd:
        if disk.pwrite(fd, first, at) != len(first):
            raise OSError(errno.EIO, "a single byte could not be written")


def _cut_back(disk: Disk, fd: int, good: int, sync: bool) -> None:
    """Take back what was written: else it would be there after a restart, refused or not."""
    try:
        disk.ftruncate(fd, good)
    except OSError as error:
        raise Unsynced(error, uncut=True) from error
    if sync:
        _sync(disk, fd)


def _sync(disk: Disk, fd: int) -> None:
    try:
        disk.fdatasync(fd)
    except OSError as error:
        raise Unsynced(error) from error


def sync(disk: Disk, path: Path, new: bool = False) -> None:
    """Put on disk what was appended without `sync`, and a `new` file's directory entry.

    Raises `Unsynced`, or `OSError` if the file cannot be opened.
    """
    with opened(disk, path, os.O_WRONLY) as fd:
        _sync(disk, fd)
    if new:
        sync_directory(disk, path.parent)


def reopen(disk: Disk, path: Path, synced: int, good: int, *, uncut: bool = True) -> None:
    """Make a log sound again after `Unsynced`: raises `OSError` while that fails.

    If it is `uncut`, what lies behind the good length is cut off; else that is
    somebody else's. The blocks from the last one
    known to be on disk are written again, since a page that failed to sync
    may be marked clean; then synced, dropped from the cache and compared with
    what the disk gives back.
    """
    with opened(disk, path, os.O_RDWR) as fd:
        size = disk.fstat(fd).st_size
        if size < good:
            raise OSError(errno.EIO, f"the file has {size} bytes, but {good} were acknowledged")
        if uncut:
            disk.ftruncate(fd, good)
        start = max(0, min(synced, good) - 1) // BLOCK * BLOCK
        for at in range(start, good, 256 * BLOCK):
            part = disk.pread(fd, min(256 * BLOCK, good - at), at)
            if disk.pwrite(fd, part, at) != len(part):
                raise OSError(errno.EIO, "a block could not be written again")
            disk.fdatasync(fd)
            os.posix_fadvise(fd, at, len(part), os.POSIX_FADV_DONTNEED)
            if disk.pread(fd, len(part), at) != part:
                raise OSError(errno.EIO, "the disk does not give back what was written")
        disk.fdatasync(fd)
    if not synced:  # nor is it known whether its name is on disk
        sync_directory(disk, path.parent)


def cut(disk: Disk, path: Path, good: int) -> int:
    """Cut a torn tail off, durably; return how many bytes went."""
    with opened(disk, path, os.O_WRONLY) as fd:
        size = disk.fstat(fd).st_size
        disk.ftruncate(fd, good)
        disk.fdatasync(fd)
    return max(0, size - good)
