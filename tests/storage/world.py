"""Logs in the index, with a plain list of what is in them: for readers of the global order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hub.document import KEYS, Labels, documents, labels_reader
from hub.event import id_at
from hub.formats import NDJSON, TSV, split_rows
from hub.matcher import Matcher
from hub.storage.index import Index
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.order import OrderCursor
from hub.storage.plan import Scope
from hub.storage.runs import Runs, Taken
from hub.storage.sources import Sources
from tests.documents import BASE, commit
from tests.storage.logs import Logs

NAMES = {"log-a": TSV, "log-b": NDJSON, "cat-1": TSV, "cat/2": NDJSON, "A": TSV}
"""The logs, with their formats; one is called like a type."""

_labels = labels_reader(KEYS)


class Placed(NamedTuple):
    """An event at its position."""

    position: int
    stream: str
    document: bytes

    @property
    def labels(self) -> Labels:
        return _labels(self.document)


class World:
    """Some logs, their index, and the list."""

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.logs = Logs(directory / "events")
        self.index = Index(directory / "index.sqlite")
        self.index.open()
        disk = disk or Disk()
        self.runs = Runs(self.index, disk, self.logs.path, KEYS, sync=False)
        self.runs.load()
        self.events: list[Placed] = []
        self.derived: dict[str, Matcher] = {}
        self.by_name: dict[str, Log] = {}
        self.sources = Sources(
            disk,
            lambda log: str(self.logs.path(log)),
            self.by_name.get,
            lambda number: self.logs.all[number - 1],
            self.derived.get,
            KEYS,
        )

    @property
    def head(self) -> int:
        return len(self.events)

    def add(self, groups: Iterable[tuple[str, list[dict[str, Any]]]]) -> None:
        """Append groups of events, given by their payloads, in one transaction."""
        new: list[Log] = []
        queue: list[Taken] = []
        for name, payloads in groups:
            log = self.by_name.get(name)
            if log is None:
                log = self.by_name[name] = self.logs.make(name, NAMES.get(name, TSV))
                log.number = len(self.logs.all)
                new.append(log)
            encoded = [msgspec.json.encode(each) for each in payloads]
            first = log.version
            if log.format == NDJSON:
                lines = text = commit(name, first, *encoded)
            else:
                lines = b"".join(
                    b"%b\tt\t%b\n" % (id_at(BASE + self.head + at).encode(), each)
                    for at, each in enumerate(encoded)
                )
                text = documents(split_rows(lines), name, first + 1)
            done = self.logs.append(log, lines)
            queue.append(
                Taken(
                    self.head + 1, log, done.revision, done.start, done.end, done.count, done.lines
                )
            )
            for line in text.split(b"\n")[:-1]:
                self.events.append(Placed(self.head + 1, name, line))
        self.runs.write(new, queue)

    def read(
        self, scope: Scope, low: int = 1, high: int | None = None, *, backwards: bool = False
    ) -> list[Placed]:
        """What a cursor finds."""
        cursor = OrderCursor(scope, low, self.head if high is None else high, backwards=backwards)
        found: list[Placed] = []
        while (part := cursor.read(self.index.db, self.sources)) is not None:
            for number, line in part.each():
                found.append(Placed(number, self.events[number - 1].stream, line))
        return found

    def close(self) -> None:
        self.index.close()
