"""Looks through an events directory without a hub, and tells what is damaged there.

Owns what is checked of logs and of the catalog, and the order of it all;
`indexverification` holds the index against the logs. It changes nothing and takes no
lock, so a hub may run meanwhile: what is being written then is not looked at. Must
not know who is told. All blocks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from hub.document import metadata_of
from hub.errors import HubError
from hub.event import IdOrder, file_name, is_stream_name
from hub.formats import NDJSON, NOT_JSON, TSV
from hub.matcher import compile_matcher
from hub.storage.catalog import Record
from hub.storage.directory import HUB_DIRECTORY
from hub.storage.index import Entry
from hub.storage.indexverification import Finding, IndexCheck
from hub.storage.journal import FILES, _record_of
from hub.storage.logfile import Disk, opened
from hub.storage.places import Walk
from hub.storage.recovery import Scan, scan

FINDINGS = 10
"""Damaged lines of one log that are told; of more, that there are."""


class Tally(Struct):
    """What was looked at."""

    logs: int = 0
    events: int = 0
    bytes: int = 0
    indexed: int = 0  # events whose bytes were held against their checksum


class Verification:
    """One look through the events directory `path`.

    `progress` is called with the bytes that were looked at since the last call, and
    with those that there are in all. `running`: whether a hub has the directory open.
    """

    def __init__(
        self,
        path: Path,
        disk: Disk | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.path = path
        self.own = path / HUB_DIRECTORY
        self.running = is_locked(self.own / "lock")
        self.tally = Tally()
        self._disk = disk or Disk()
        self._progress = progress
        self._total = 0

    def run(self) -> Iterator[Finding]:
        """Everything that is not as it should be, as it is found. Raises `OSError`."""
        logs: dict[tuple[str, str], Path] = {}
        yield from self._find(logs)
        index = IndexCheck(self.own / "index.sqlite", self._disk, running=self.running)
        try:
            # Opened before the logs are read: they hold everything that it knows of.
            yield from index.open(bool(logs))
            self._total = sum(path.stat().st_size for path in logs.values())
            self._total *= 2 if index.is_open else 1
            for key, path in sorted(logs.items()):
                entry = index.logs.get(key)
                yield from self._check_log(path, key[1], entry)
                if entry is not None:
                    yield from index.check_log(entry, path, self._advance)
            yield from index.check_order(logs)
            self.tally.indexed = index.events
        finally:
            index.close()
        yield from self._check_journal()
        yield from self._check_catalog(logs)

    def _advance(self, done: int) -> None:
        self._progress(done, self._total)

    def _find(self, logs: dict[tuple[str, str], Path]) -> Iterator[Finding]:
        names: dict[str, Path] = {}
        for path in sorted(self.path.iterdir()):
            form = path.suffix[1:]
            if form not in (TSV, NDJSON) or not path.is_file():
                continue
            name = unquote(path.stem)
            if not is_stream_name(name) or path.name != file_name(name, form):
                yield Finding(path, "no log has such a name: a hub passes it over", grave=False)
            elif name in names:
                reason = f"a log has one file, and this name has {names[name].name} too"
                yield Finding(path, reason)
                logs[name, form] = path
            else:
                names[name] = logs[name, form] = path

    def _check_log(self, path: Path, form: str, entry: Entry | None) -> Iterator[Finding]:
        try:
            yield from self._scan(path, form, entry.length if entry else 0)
        except OSError as error:
            yield Finding(path, f"it cannot be read: {error.strerror or error}")
        self.tally.logs += 1

    def _scan(self, path: Path, form: str, written: int) -> Iterator[Finding]:
        """Of `written` bytes, nothing can be a torn write."""
        size = path.stat().st_size
        if size < written:
            yield Finding(path, f"it has {size} bytes, but {written} had been written")
        found = Scan(0, 0, "", IdOrder())
        skipped = 0  # lines that are no events, or of a commit that is not whole
        for _ in range(FINDINGS):
            at = found.length
            done = _Advance(at, self._advance)
            scan(self._disk, path, found, done, form)
            done(found.length, size)
            if found.damage is None:
                break
            line, _, reason = found.damage.partition(": ")
            number = int(line.removeprefix("line "))
            if found.zeroed and 0 < written <= found.length:
                # As a power cut leaves it: the next start cuts it off.
                found.torn = size - found.length
                break
            yield Finding(path, reason, number)
            behind = self._behind(path, form, found, number, size)
            if behind is None:
                yield _unseen(path, size - found.length)
                break
            skipped += behind.version - found.version
            found = behind
        else:
            yield _unseen(path, size - found.length)
        self.tally.events += found.version - skipped
        self.tally.bytes += found.length
        if not found.torn or self.running:
            return
        if found.length < written:
            yield Finding(path, "it is torn, though it had been written", found.version + 1)
        else:
            reason = (
                f"a torn write of {found.torn} bytes, never acknowledged: "
                "the next start of a hub cuts it off"
            )
            yield Finding(path, reason, found.version + 1, grave=False)

    def _behind(self, path: Path, form: str, found: Scan, number: int, size: int) -> Scan | None:
        """Where to go on behind a damaged line; None if what follows has no place of its own."""
        with opened(self._disk, path, os.O_RDONLY) as fd:
            walk = Walk(self._disk, fd, size)
            place = walk.skip(number - found.version, found.length)
            while form == NDJSON and place < size:
                line = walk.line(place)
                try:
                    metadata = metadata_of(line)
                except NOT_JSON:
                    return None
                if metadata.commit_version == 0:
                    if metadata.stream_version not in (None, number):
                        return None  # lines are missing
                    break
                place += len(line)
                number += 1
        return Scan(place, number, "", IdOrder())

    def _check_journal(self) -> Iterator[Finding]:
        """Only what a crash tore, at the end, may not be a record."""
        for name in FILES:
            path = self.own / name
            with suppress(FileNotFoundError):
                lines = path.read_bytes().split(b"\n")[:-1]
                for number, line in enumerate(lines, 1):
                    if _record_of(line) is None:
                        yield Finding(path, "it is no record of the order of events", number)
                        break

    def _check_catalog(self, logs: dict[tuple[str, str], Path]) -> Iterator[Finding]:
        names = {name for name, _ in logs}
        for path in sorted((self.own / "streams").glob("*.json")):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Record)
                if path.name != file_name(record.stream, "json"):
                    raise ValueError(f"it is of stream {record.stream!r}")
                if record.matcher is not None:
                    compile_matcher(record.matcher)
                    if record.stream in names:
                        raise ValueError("a log has the name of this derived stream")
            except (OSError, ValueError, HubError) as error:  # ValueError: what msgspec raises
                yield Finding(path, str(error))


def _unseen(path: Path, size: int) -> Finding:
    return Finding(path, f"the {size} bytes behind that were not looked at", grave=False)


class _Advance:
    """Turns how far a scan has come into how much it read."""

    def __init__(self, at: int, advance: Callable[[int], None]) -> None:
        self._at = at
        self._advance = advance

    def __call__(self, done: int, total: int) -> None:
        self._advance(max(0, done - self._at))
        self._at = max(done, self._at)


def is_locked(path: Path) -> bool:
    """Whether a hub holds the lock at this path. It is tried, for no longer than that takes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False
