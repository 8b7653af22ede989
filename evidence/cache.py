"""What a power cut would leave of the files that a recorded run wrote.

Owns the model of a file system with a cache. Of a file, each sector is as it was at
some moment since it was last synced, and so is the length; of a directory, so are
its entries: a file that was synced can be lost with its name. A sync covers what was
written before it began, from when it ended. What a failed sync covered is not on
disk after the next one either, unless it is written again: the system may have
marked it clean. Must not know what is in the files.
"""

from __future__ import annotations

import random
from enum import Enum
from pathlib import Path, PurePosixPath

from evidence.shim import Call, Entry

SECTOR = 512
PAGE = 4096


class Cut(Enum):
    """What of that which was not synced is on the disk."""

    NOTHING = "nothing of it"
    EVERYTHING = "everything"
    SECTORS = "some sectors"
    PAGES = "some pages"
    LENGTHS = "the files' lengths, but not what was written"


class _File:
    """A file's content by version: as it was after each of its operations."""

    def __init__(self) -> None:
        self.operations: list[tuple[int, bytes | int]] = []  # a write, or (-1, length)
        self.least: dict[int, int] = {}  # by sector: a version that is on disk, if not `floor`
        self.floor = 0  # the version that all other sectors are on disk in, at least
        self.least_length = 0
        self.failed = 0  # the version that a failed sync was for
        self.last: dict[int, int] = {}  # by sector: the version it was written in last
        self.length = 0

    def write(self, offset: int, data: bytes) -> None:
        self.operations.append((offset, data))
        for sector in range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1):
            self.last[sector] = len(self.operations)
        self.length = max(self.length, offset + len(data))

    def truncate(self, length: int) -> None:
        self.operations.append((-1, length))
        for sector in range(min(length, self.length) // SECTOR, self.length // SECTOR + 1):
            self.last[sector] = len(self.operations)
        self.length = length

    def sync(self, version: int, offset: int, size: int) -> None:
        """A sync that went well, for the bytes from `offset` on; `size` 0: for all."""
        self.least_length = max(self.least_length, version)
        if not size and not self.failed:
            self.floor = version
            self.least = {at: least for at, least in self.least.items() if least > version}
            return
        sectors = range(offset // SECTOR, (offset + size - 1) // SECTOR + 1) if size else self.last
        for sector in sectors:
            if self.last.get(sector, 0) > self.failed:
                self.least[sector] = max(self.least.get(sector, 0), version)

    def content(self, cut: Cut, chance: random.Random) -> bytes:
        newest = len(self.operations)
        unit = PAGE if cut is Cut.PAGES else SECTOR
        lengths = [0]
        longest = 0
        for offset, data in self.operations:
            end = data if isinstance(data, int) else max(lengths[-1], offset + len(data))
            lengths.append(end)
            longest = max(longest, end)
        version = newest if cut in (Cut.EVERYTHING, Cut.LENGTHS) else self.least_length
        if cut in (Cut.SECTORS, Cut.PAGES):
            version = chance.randint(self.least_length, newest)
        length = lengths[version]
        picked: dict[int, list[int]] = {}  # by version: the units that are as they were then
        for at in range(0, length, unit):
            sectors = range(at // SECTOR, (at + unit) // SECTOR)
            least = max(max(self.least.get(sector, 0), self.floor) for sector in sectors)
            if cut is Cut.EVERYTHING:
                least = newest
            elif cut in (Cut.SECTORS, Cut.PAGES):
                least = chance.randint(least, newest)
            picked.setdefault(least, []).append(at)
        result = bytearray(length)
        now = bytearray(longest)
        for number, (offset, data) in enumerate([(0, b""), *self.operations]):
            if isinstance(data, int):
                now[data:] = bytes(longest - data)
            else:
                now[offset : offset + len(data)] = data
            for at in picked.get(number, ()):
                end = min(at + unit, length)
                result[at:end] = now[at:end]
        return bytes(result)


class _Directory:
    def __init__(self) -> None:
        self.operations: list[dict[str, int | None]] = []  # names that come, or go: None
        self.least = 0

    def names(self, cut: Cut, chance: random.Random) -> dict[str, int]:
        version = self.least
        if cut in (Cut.EVERYTHING, Cut.LENGTHS):
            version = len(self.operations)
        elif cut in (Cut.SECTORS, Cut.PAGES):
            version = chance.randint(self.least, len(self.operations))
        return self._after(version)

    def _after(self, version: int) -> dict[str, int]:
        names: dict[str, int] = {}
        for operation in self.operations[:version]:
            for name, file in operation.items():
                if file is None:
                    names.pop(name, None)
                else:
                    names[name] = file
        return names


class Cache:
    """The files below `root`, which begins empty. `take` what was recorded, in its order."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._directories = {self._root: _Directory()}
        self._files: dict[int, _File] = {}
        self._numbers: dict[int, int] = {}  # from inode to file: inodes are used again
        self._syncs: dict[int, tuple[Entry, int]] = {}  # under way: by number, with the version
        self._entries = 0

    def take(self, entry: Entry) -> None:
        """Take in the next entry."""
        self._entries += 1
        match entry.call:
            case Call.MAKE:
                self._directories[entry.path] = _Directory()
                self._name(entry.path, 0)
            case Call.CREATED:
                number = self._numbers[entry.file] = len(self._files) + 1
                self._files[number] = _File()
                self._name(entry.path, number)
            case Call.WRITE:
                self._file(entry).write(entry.offset, entry.data)
            case Call.TRUNCATE:
                self._file(entry).truncate(entry.offset)
            case Call.UNLINK:
                self._name(entry.path, None)
            case Call.RENAME:
                self._rename(PurePosixPath(entry.path), PurePosixPath(entry.data.decode()))
            case Call.SYNC:
                self._syncs[self._entries] = entry, self._version(entry)
            case Call.SYNCED:
                self._synced(*self._syncs.pop(entry.size), failed=entry.failed)

    def _file(self, entry: Entry) -> _File:
        return self._files[self._numbers[entry.file]]

    def _name(self, path: str, file: int | None) -> None:
        place = PurePosixPath(path)
        self._directories[str(place.parent)].operations.append({place.name: file})

    def _rename(self, old: PurePosixPath, new: PurePosixPath) -> None:
        assert old.parent == new.parent, "nothing is moved from one directory to another"
        directory = self._directories[str(old.parent)]
        file = directory.names(Cut.EVERYTHING, random.Random())[old.name]
        directory.operations.append({old.name: None, new.name: file})

    def _version(self, entry: Entry) -> int:
        directory = self._directories.get(entry.path)
        return len((directory or self._file(entry)).operations)

    def _synced(self, entry: Entry, version: int, *, failed: bool) -> None:
        directory = self._directories.get(entry.path)
        if directory:
            if not failed:
                directory.least = max(directory.least, version)
            return
        file = self._file(entry)
        if failed:
            file.failed = max(file.failed, version)
        else:
            file.sync(version, entry.offset, entry.size)

    def restart(self) -> None:
        """The process has gone, and another begins: no sync is under way, and it counts anew."""
        self._syncs.clear()
        self._entries = 0

    def leave(self, target: Path, cut: Cut, chance: random.Random) -> None:
        """Write to an empty directory what a power cut would leave now."""
        self._leave(self._root, target, cut, chance)

    def _leave(self, path: str, target: Path, cut: Cut, chance: random.Random) -> None:
        target.mkdir(exist_ok=True)
        for name, file in self._directories[path].names(cut, chance).items():
            if file:
                (target / name).write_bytes(self._files[file].content(cut, chance))
            else:
                self._leave(f"{path}/{name}", target / name, cut, chance)
