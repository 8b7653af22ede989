"""Finds the logs of a directory, and makes each sound: recovery at opening.

Owns what is cut off, what is kept, and when a log takes no writes. Must not
know positions, nor who reads. All blocks.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from urllib.parse import unquote

from hub.event import IdOrder, file_name, is_stream_name, time_of
from hub.formats import NDJSON, TSV
from hub.storage import logfile, search
from hub.storage.index import Entry
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.recovery import Scan, scan
from hub.storage.schema import DAMAGED
from hub.storage.torn import Torn

PROGRESS_INTERVAL = 2.0
"""Seconds between two lines of log about a long recovery."""

_NOTHING: Mapping[tuple[str, str], int] = {}

logger = logging.getLogger(__name__)


def format_of(
    directory: Path, name: str, form: str, known: Mapping[tuple[str, str], int] = _NOTHING
) -> str:
    """The format of a name's log: this one, unless its file is of the other.

    Of two files it is the one that the index knows events of (`known`: up to which
    byte it knows a file), else the one that has any, else one that it knows, else the TSV.
    """
    other = NDJSON if form == TSV else TSV
    sizes: dict[str, int] = {}
    for each in (other, form):
        with suppress(OSError):
            found = os.stat(f"{directory}/{file_name(name, each)}")
            if S_ISREG(found.st_mode):
                sizes[each] = found.st_size
        if other not in sizes:
            return form

    def claim(each: str) -> tuple[bool, bool, bool, bool]:
        length = known.get((name, each))
        return bool(length), sizes[each] > 0, length is not None, each == TSV

    return max(sizes, key=claim)


def _goes_on(disk: Disk, path: Path, entry: Entry, size: int, modified: int) -> bool:
    """Whether a file is what the index knows, perhaps with more behind it."""
    if entry.length >= size:
        return entry.length == size and entry.modified == modified
    try:
        return search.ends_with(disk, path, entry.length, entry.last_id, entry.format)
    except OSError:
        return False  # reading it all will tell


def known_of(disk: Disk, path: Path, log: Log, entry: Entry) -> int:
    """How many bytes of an open log are sure to be what the index knows."""
    if log.damage or entry.length > log.length:
        return 0
    try:
        found = path.stat()
    except OSError:
        return 0
    known = _goes_on(disk, path, entry, found.st_size, found.st_mtime_ns)
    return entry.length if known else 0


class Opening:
    """One look through an events directory. `torn` is where to keep what is cut off."""

    def __init__(self, directory: Path, torn: Path, disk: Disk) -> None:
        self._directory = directory
        self._torn = Torn(torn)
        self._disk = disk
        self.logs: dict[str, Log] = {}
        # Logs that are other than the index knew them, and up to which byte it knew them.
        self.changed: dict[Log, int] = {}

    def find(self, known: dict[tuple[str, str], Entry]) -> None:
        """Find every log, taking what the index knows of it out of `known`. Raises `OSError`."""
        lengths = {key: entry.length for key, entry in known.items()}
        with os.scandir(self._directory) as files:
            for file in files:
                stem, dot, form = file.name.rpartition(".")
                if not dot or not stem or form not in (TSV, NDJSON) or not file.is_file():
                    continue
                name = unquote(stem)
                if not is_stream_name(name) or file.name != file_name(name, form):
                    logger.warning("%s is not the file of a log: passed over", file.path)
                    continue
                chosen = format_of(self._directory, name, form, lengths)
                if chosen != form:
                    passed = f"{file.path} is passed over"
                    logger.error("%s: %s has this name already", passed, file_name(name, chosen))
                    continue
                stat = file.stat()
                log = Log(name, form)
                log.made = True
                self._learn(log, known.pop((name, form), None), stat.st_size, stat.st_mtime_ns)
                self.logs[name] = log

    def _path(self, log: Log) -> Path:
        return self._directory / file_name(log.name, log.format)

    def _learn(self, log: Log, entry: Entry | None, size: int, modified: int) -> None:
        """Take over what the index knows of a log, and read what it does not know."""
        found = Scan(0, 0, "", IdOrder())
        log.number = entry.number if entry else 0
        path = self._path(log)
        if entry and entry.length > size:
            logger.error("%s has %d bytes, but %d had been written", path, size, entry.length)
        known = entry is not None and _goes_on(self._disk, path, entry, size, modified)
        if entry and known:
            found = _scan_of(entry)
        log.synced = trusted = found.length
        log.synced_version = found.version
        if not known or found.length < size:
            sound = entry and entry.length <= size and entry.modified != DAMAGED
            self._read(log, found, entry.length if entry and sound else None)
            self.changed[log] = trusted
        log.damage = found.damage
        log.length = found.length
        log.version = found.version
        log.last_id = found.last_id
        log.order = found.order

    def _read(self, log: Log, found: Scan, promised: int | None) -> None:
        """Read a log from where `found` ends. Of `promised` bytes nothing may be cut off.

        It is 0 for a log that the hub has just made, None if nothing is known of it.
        """
        path = self._path(log)
        try:
            scan(self._disk, path, found, _Progress(log.name), log.format)
            if found.zeroed and promised is not None and promised <= found.length:
                # A power cut: what was acknowledged since lies before what never got to the disk.
                found.damage, found.torn = None, os.stat(path).st_size - found.length
            if found.torn and found.length < (promised or 0):
                found.damage = f"line {found.version + 1}: it is torn, though it had been written"
            elif found.torn:
                self._cut(path, found)
        except OSError as error:
            found.damage = f"its file cannot be read or mended: {error.strerror or error}"
            log.unread = not found.length
        if found.damage:
            logger.error("%s takes no writes: %s", path, found.damage)

    def _cut(self, path: Path, found: Scan) -> None:
        self._torn.keep(path, found.length)
        logfile.cut(self._disk, path, found.length)
        logger.warning(
            "%s: cut off a torn write that was never acknowledged: %d bytes at offset %d",
            path,
            found.torn,
            found.length,
        )


def _scan_of(entry: Entry) -> Scan:
    """What a row of the index knows, as the beginning of a scan."""
    order = IdOrder(clock=entry.clock, ordered=entry.ordered)
    moment = time_of(entry.last_id) if entry.ordered and entry.version else None
    if moment is not None:
        order.earliest = order.latest = moment
    return Scan(entry.length, entry.version, entry.last_id, order)


class _Progress:
    """Tells the log how far a long recovery is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = time.monotonic() + PROGRESS_INTERVAL

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_INTERVAL
            logger.info("log %s: reading it again, %d %%", self._name, 100 * done // total)
