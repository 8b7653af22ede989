"""Brings the index in line with what logs turned out to be: each event has its position.

Owns what becomes of positions when files changed while nobody looked. What has
a position, in the index or in the order journal, keeps it; what has none gets
one, in the order of time; what is gone leaves a gap. All blocks.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import groupby
from pathlib import Path

import msgspec
from msgspec import Struct

from hub.document import Keys
from hub.storage.index import Index, Run
from hub.storage.journal import Journal, Record
from hub.storage.log import Log
from hub.storage.logfile import Disk, Reading, opened
from hub.storage.ordering import Stretch, Tail, as_told, in_time_order
from hub.storage.places import Walk
from hub.storage.sequencer import Sequencer
from hub.storage.terms import terms_of

logger = logging.getLogger(__name__)


class Found(Struct):
    """A log as it was found: its events, their bytes, and how many of these the index knew."""

    log: Log
    version: int
    length: int
    trusted: int = 0


class Alignment:
    """Aligns one index with the logs of one directory."""

    def __init__(
        self,
        index: Index,
        journal: Journal,
        sequencer: Sequencer,
        disk: Disk,
        path: Callable[[Log], Path],
        keys: Keys,
    ) -> None:
        self._index = index
        self._journal = journal
        self._sequencer = sequencer
        self._disk = self.reading = Reading(disk)  # abandoned, it is left off for good
        self._path = path
        self._keys = keys

    def align(
        self, logs: Iterable[Log], changed: Iterable[Found], gone: Collection[int], highest: int
    ) -> None:
        """Give positions to what has none.

        `gone` are numbers of logs that are there no longer, `highest` is the
        highest number in the index. Raises `OSError`, and what SQLite raises.
        """
        self._index.forget(gone)
        tails: dict[str, Tail] = {}
        for found in changed:
            log = found.log
            revision, offset = self._index.covered(log.number) if log.number else (0, 0)
            if offset > found.trusted:
                self._hold_against_file(found)
                revision, offset = self._index.covered(log.number)
            if revision < found.version:
                tail = Tail(log, self._path(log), revision + 1, offset, found.length)
                tails[log.name] = tail
        numbered = {log.number: log for log in logs if log.number}
        self._label(numbered)
        self._sequencer.load(numbered, highest)
        rescued = self._index.rescued
        if rescued:
            head = self._sequencer.head  # it is not 0 if this was begun before
            records = [
                each.behind(max(head, each.position - 1))
                for each in rescued.records
                if each.last > head
            ]
            self._adopt(as_told(self._disk, tails, records))
            self._sequencer.skip(rescued.last)
        records = self._told()
        self._adopt(as_told(self._disk, tails, records))
        if records:
            self._sequencer.skip(records[-1].last)
        self._tell_of(tails.values())
        self._adopt(in_time_order(self._disk, tails.values()))
        # Its log may hold what failed to sync in the life before: then it is not on the disk.
        if not self._index.checkpoint(wait=True) and self._journal.sync:
            raise OSError("the index stands in its log, which could not be brought into it")
        self._journal.clear()
        self._index.settle_rescued()

    def _tell_of(self, tails: Iterable[Tail]) -> None:
        """Say that the order between logs is a guess, where it is one.

        After a kill nobody was told these positions. But if the end of the index or of
        the journal was lost, it looks the same.
        """
        counts = [count for tail in tails if (count := tail.log.version - tail.revision + 1) > 0]
        if self._sequencer.head and len(counts) > 1:
            logger.warning(
                "%d events of %d logs had no position: they get theirs in the order of time",
                sum(counts),
                len(counts),
            )

    def _adopt(self, stretches: Iterable[Stretch]) -> None:
        """Give positions to events; what is left off here is gone on with by the next alignment."""

        def wanted() -> Iterator[Stretch]:
            for each in stretches:
                self.reading.go_on()
                yield each

        self._sequencer.adopt(wanted())

    def _told(self) -> list[Record]:
        """What goes on right behind the index, without a gap, of the positions that were told.

        Of a record in whose midst an alignment was broken off, that is the rest.
        """
        records: list[Record] = []
        head = self._sequencer.head
        for each in self._journal.read():
            if each.position <= head + 1 <= each.last:
                records.append(each.behind(head))
                head = each.last
        return records

    def _label(self, logs: dict[int, Log]) -> None:
        """See to it that the terms are those that the keys of today find."""
        keys = msgspec.json.encode(self._keys).decode()
        before = self._index.labelled()
        if before == keys:
            return
        if before:
            logger.warning(
                "types and tags have other keys now (%s, before %s): every event is looked at",
                keys,
                before,
            )
        self._index.label(keys, self._postings(logs))

    def _postings(self, logs: dict[int, Log]) -> Iterator[tuple[int, int]]:
        for number, runs in groupby(self._index.runs(), lambda run: run.log):
            log = logs[number]
            with opened(self._disk, self._path(log), os.O_RDONLY) as fd:
                for run in runs:
                    if run.offset + run.size > log.length:
                        break  # hidden by damage
                    text = self._disk.pread(fd, run.size, run.offset)
                    lines = text.split(b"\n")
                    lines.pop()
                    for term in terms_of(lines, log.format, self._keys):
                        yield term, run.position

    def _hold_against_file(self, found: Found) -> None:
        """See to it that the runs of a log tell where its events are now."""
        runs = self._index.beyond(found.log.number, found.trusted)
        if not runs:
            return
        try:
            self._mend(found, runs)
        except OSError:
            if not found.log.damage:
                raise

    def _mend(self, found: Found, runs: list[Run]) -> None:
        path = self._path(found.log)
        changed: list[Run] = []
        gone: list[Run] = []
        postings: set[tuple[int, int]] = set()
        with opened(self._disk, path, os.O_RDONLY) as fd:
            walk = Walk(self._disk, fd, found.length)
            place = runs[0].offset
            for run in runs:
                count = min(run.count, found.version - run.revision + 1)
                if count < run.count and found.log.damage and not changed:
                    break  # what is hidden now is there again when it is mended
                if count <= 0:
                    gone.append(run)
                    continue
                end = walk.skip(count, place)
                text = walk.read(place, end)
                place = end
                now = _moved(run, end - len(text), count, text)
                if now != run:
                    changed.append(now)
                    lines = text.split(b"\n")
                    lines.pop()
                    terms = terms_of(lines, found.log.format, self._keys)
                    postings.update([(term, run.position) for term in terms])
        if changed or gone:
            logger.error(
                "%s is not what it was: %d of the runs of its events changed, %d are gone",
                path,
                len(changed),
                len(gone),
            )
            self._index.mend(changed, gone, postings)


def _moved(run: Run, offset: int, count: int, text: bytes) -> Run:
    """A run as it is, when these bytes are its events now."""
    return Run(run.position, run.log, run.revision, offset, count, len(text), zlib.crc32(text))
