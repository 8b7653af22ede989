"""Logs that tests write themselves, without a writer, and what the index has of them."""

from __future__ import annotations

from pathlib import Path

from hub.event import file_name, id_at
from hub.formats import NDJSON, TSV
from hub.storage.index import SELECT_RUNS, Index, Run
from hub.storage.log import Committed, Log
from hub.storage.soundness import faults
from tests import documents

BASE = documents.BASE


class Logs:
    """The logs of one directory. Their events are numbered in the order in which they come."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.all: list[Log] = []
        self.count = 0

    def make(self, name: str, form: str = TSV) -> Log:
        """A new log, empty."""
        log = Log(name, form)
        log.made = True
        self.path(log).touch()
        self.all.append(log)
        return log

    def path(self, log: Log) -> Path:
        return self.directory / file_name(log.name, log.format)

    def grow(self, log: Log, count: int = 1, *, held: bool = True, size: int = 0) -> Committed:
        """Append events, as one group; without `held` their lines are not told."""
        lines = b""
        for at in range(count):
            self.count += 1
            data = b'{"type":"t%d","n":%d%b}' % (
                self.count % 5,
                self.count,
                b',"x":"%b"' % (b"x" * size) if size else b"",
            )
            if log.format == NDJSON:
                lines += documents.commit(log.name, log.version + at, data)
            else:
                lines += b"%b\tt\t%b\n" % (id_at(BASE + self.count).encode(), data)
        return self.append(log, lines, held=held)

    def append(self, log: Log, lines: bytes, *, held: bool = True) -> Committed:
        """Append whole lines, as one group."""
        with open(self.path(log), "ab") as file:
            file.write(lines)
        start, count = log.length, lines.count(b"\n")
        log.length += len(lines)
        log.version += count
        revision = log.version - count + 1
        return Committed(log, start, log.length, count, revision, lines if held else None, 1.0)


def runs_of(index: Index) -> list[Run]:
    """All runs, in the order of their positions."""
    return [Run(*row) for row in index.db.execute(f"{SELECT_RUNS} ORDER BY position").fetchall()]


def order_of(index: Index, logs: Logs) -> dict[int, tuple[str, int]]:
    """The log's name and the revision at each position, as the index has it."""
    assert list(faults(index.db)) == []
    by_number = {log.number: log for log in logs.all if log.number}
    found: dict[int, tuple[str, int]] = {}
    for run in runs_of(index):
        for at in range(run.count):
            assert run.position + at not in found
            found[run.position + at] = (by_number[run.log].name, run.revision + at)
    return found
