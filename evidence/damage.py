"""Logs that are damaged at every byte, and what the hub makes of them."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evidence.changes import EARLY, Case, Change, cuts, flips, sectors
from evidence.run import Run, check
from hub.document import Draft, documents
from hub.engines.base import Scope
from hub.engines.files import FilesEngine
from hub.errors import LogDamaged, ReadFailed
from hub.event import IdOrder, file_name
from hub.formats import NDJSON, TSV, Batch, split_rows
from hub.options import Durability
from hub.storage.verification import Verification

_BASE = 1_800_000_000 * 10**9
_SECOND = 10**9

_TEXTS = ("plain", "naïve", "", '{"type":"paid","amount":1.50}', "two\vlines", "tab\tinside", "🦉")
_SIZES = (1, 3, 1, 2, 4)
"""Of the groups: so many events are written at once."""

_STATES = {
    "closed": "the index knows all",
    "killed": "the hub was killed, and the damage is in what it had not saved yet",
    "trusted": "the hub was killed, and the damage is in what it does not read again",
    "without": "there is no index",
}


def every_byte(run: Run) -> list[str]:
    """Damage a log at every byte, in every way, and open it, with the index and without.

    A small log of each format is cut at each length, has each byte changed, and a larger
    one has each of its sectors of 512 bytes zeroed. The hub that opens it serves what lies
    before the damage as it was, and changes no byte of the rest: what it cuts off it keeps
    and says so; else the log takes no writes, and file and line are named. Then it is
    appended to, and opened again, and every event stands once in the global order. The
    index is there as it was, or knows only the beginning, as after a kill, or is gone.
    Short: each sixth length, and another value of each sixth byte; long: all, eleven values.
    """
    return asyncio.run(_every_byte(run))


class _Logs:
    """A directory with a log for each change, as a hub wrote them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.groups: dict[tuple[str, str], list[bytes]] = {}  # by name and format
        self._now = _BASE

    async def write(self, names: list[tuple[str, str, int]], killed: Path | None = None) -> None:
        """Write logs, each with a format and the bytes of padding; then close the directory.

        `killed` gets a copy of it as a kill leaves it: half of each log was written,
        and saved, by a hub before.
        """
        for part in (slice(0, EARLY), slice(EARLY, None)):
            engine = self._engine()
            await engine.open()
            for name, form, padding in names:
                await self._extend(engine, name, form, padding, range(len(_SIZES))[part])
            await engine.settle()
            if killed is not None and part.start:
                copy(self.directory, killed)
            await engine.close()

    def _engine(self) -> FilesEngine:
        return FilesEngine(self.directory, Durability.OS, clock=lambda: self._now)

    async def _extend(
        self, engine: FilesEngine, name: str, form: str, padding: int, numbers: range
    ) -> None:
        self._now += _SECOND
        path = self.directory / file_name(name, form)
        for number in numbers:
            before = path.stat().st_size if path.exists() else 0
            texts = [(_TEXTS * 3)[number + at] + "x" * padding for at in range(_SIZES[number])]
            if form == TSV:
                lines = "".join(f"\ttype\t{text}\n" for text in texts).encode()
                count = len(texts)
                await engine.append(name, Batch([lines], count, count, "", "", IdOrder()))
            else:
                encoded = [
                    b'{"type":"t","text":"%b"}' % text.encode().hex().encode() for text in texts
                ]
                await engine.commit(
                    name, Draft(encoded, ["t"] * len(encoded), f"{number:08x}", b"")
                )
            self.groups.setdefault((name, form), []).append(path.read_bytes()[before:])


async def _every_byte(run: Run) -> list[str]:
    sample = _Logs(run.directory / "sample")
    small, large = 0, 200
    kinds = [(form, padding) for padding in (small, large) for form in (TSV, NDJSON)]
    # Names as long as those to come, since they are in the lines.
    samples = {f"log-{number:06}": kind for number, kind in enumerate(kinds)}
    await sample.write([(name, *kind) for name, kind in samples.items()])
    changes: dict[str, tuple[str, int, Change]] = {}
    for name, (form, padding) in samples.items():
        good = b"".join(sample.groups[name, form])
        ways = [*cuts(good, run), *flips(good, run)] if padding == small else [*sectors(good)]
        for change in ways:
            changes[f"log-{len(changes):06}"] = form, padding, change
    logs = _Logs(run.directory / "closed")
    names = [(name, form, padding) for name, (form, padding, _) in changes.items()]
    await logs.write(names, run.directory / "killed")
    copy(logs.directory, run.directory / "without")
    for path in (run.directory / "without" / ".hub").glob("index.sqlite*"):
        path.unlink()
    run.say(f"{len(changes)} logs are written")
    cases = []
    for name, (form, _, change) in changes.items():
        groups = tuple(logs.groups[name, form])
        case = Case(name, form, change.what, groups, change.of(b"".join(groups)))
        check(case.bad != case.good, f"{name}: {change.what} changes nothing")
        cases.append(case)
    early = [case for case in cases if case.is_early]
    late = [case for case in cases if not case.is_early]
    copy(run.directory / "killed", run.directory / "trusted")
    shown = [f"{len(cases):,} damaged logs, each opened with and without the index"]
    for state, ones in {
        "closed": cases,
        "killed": late,
        "trusted": early,
        "without": cases,
    }.items():
        directory = run.directory / state
        for case in ones:
            (directory / case.file).write_bytes(case.bad)
        counts = await _Trial(directory, state, ones).go()
        shown.append(f"{_STATES[state]}: " + ", ".join(f"{n:,} {k}" for k, n in counts.items()))
        run.say(shown[-1])
        shutil.rmtree(directory)
    return shown


class _Trial:
    """All cases in one directory, with one state of the index."""

    def __init__(self, directory: Path, state: str, cases: list[Case]) -> None:
        self._directory = directory
        self._state = state
        self._cases = cases
        self._counts: Counter[str] = Counter()

    async def go(self) -> Counter[str]:
        """Open, append, open again."""
        self._verify()
        with told_by_hub() as told:
            engine = await self._open()
        said = by_file(told)
        now: dict[str, bytes] = {}
        for case in self._cases:
            now[case.name] = await self._check_opened(engine, case, said.get(case.file, ""))
        await self._check_order(engine)
        for case in self._cases:
            now[case.name] = await self._append(engine, case, now[case.name])
        await engine.close()
        with told_by_hub() as told:
            engine = await self._open()
        again = by_file(told)
        for case in self._cases:
            log = engine.find(case.name)
            assert log is not None
            kept = (self._directory / case.file).read_bytes() == now[case.name]
            self._check(kept, case, "the second opening changed the file")
            if log.damage:
                self._check(log.damage in again.get(case.file, ""), case, "the damage is not said")
            else:
                self._check(log.length == len(now[case.name]), case, "it is not read whole")
        await self._check_order(engine)
        await engine.close()
        return self._counts

    def _check(self, holds: object, case: Case, promise: str) -> None:
        check(holds, f"{promise}: {self._directory / case.file}, index {self._state}, {case.what}")

    async def _open(self) -> FilesEngine:
        engine = FilesEngine(self._directory, Durability.OS, clock=lambda: 2 * _BASE)
        await engine.open()
        return engine

    def _verify(self) -> None:
        """An index that knows all events finds each change."""
        found = {each.path.name for each in Verification(self._directory).run()}
        if self._state != "without":
            for case in self._cases:
                self._check(case.file in found, case, "hub verify finds nothing")

    async def _check_opened(self, engine: FilesEngine, case: Case, said: str) -> bytes:
        """What is served is a prefix of the file, and with the sound part; return the file."""
        log = engine.find(case.name)
        check(log is not None, f"log {case.name} is not found")
        assert log is not None
        now = (self._directory / case.file).read_bytes()
        served = await engine.read(case.name, 0, log.length) if log.length else b""
        sound = case.sound
        self._check(case.bad.startswith(now), case, "the file was changed")
        self._check(now.startswith(served), case, "what is served is not what the file holds")
        self._check(len(served) >= sound, case, f"only {len(served)} bytes of {sound} are served")
        self._check(served[:sound] == case.good[:sound], case, "what was sound is another")
        if log.damage:
            self._counts["take no writes"] += 1
            self._check(now == case.bad, case, "a damaged file was cut")
            line = int(log.damage.removeprefix("line ").partition(":")[0])
            first = case.good[:sound].count(b"\n") + 1  # of the group
            self._check(first <= line <= first + max(_SIZES), case, f"line {line} is named")
            self._check(log.damage in said, case, "the damage is not said")
        elif len(now) < len(case.bad):
            self._counts["cut"] += 1
            self._check(now == served, case, "what is left is not served")
            self._check("cut off" in said, case, "what was cut off is not said")
            aside = self._directory / ".hub" / "torn" / f"{case.file}-{len(now)}"
            self._check(aside.read_bytes() == case.bad[len(now) :], case, "it is not kept")
            self._check(self._may_be_cut(case, len(now)), case, "more than a tail was cut off")
        elif case.good.startswith(now):
            self._counts["end early"] += 1
            if self._state == "closed":
                self._check("had been written" in said, case, "it is not said that some is missing")
        elif said:
            self._counts["are another text, which is said"] += 1
            self._check("not what it was" in said, case, f"this is said: {said}")
        elif self._state == "trusted":
            self._counts["go on: hub verify finds the damage"] += 1
        else:
            self._counts["are another text, unseen"] += 1
            self._check(self._state == "without", case, "a change is not said")
        return now

    def _may_be_cut(self, case: Case, length: int) -> bool:
        """Whether what was cut off looked like what was never acknowledged."""
        rest = case.bad[length:]
        torn = len(case.bad) < len(case.good) or not rest.endswith(b"\n")
        marked = rest.startswith(b"\0")
        # Behind what was saved, a hole is taken for what a power cut kept from the disk.
        hole = self._state in ("killed", "trusted") and b"\0" in rest
        last = case.sound == len(case.good) - len(case.groups[-1])
        saved = {"closed": len(case.groups), "without": 0}.get(self._state, EARLY)
        known = len(b"".join(case.groups[:saved]))
        # Of what the index has saved nothing, unless the file is shorter than that.
        return (length >= known or len(case.bad) < known) and (torn or marked or last or hole)

    async def _append(self, engine: FilesEngine, case: Case, before: bytes) -> bytes:
        """Append, if it may be; return the file."""
        log = engine.find(case.name)
        assert log is not None
        damaged = log.damage is not None
        try:
            if case.form == TSV:
                await engine.append(case.name, Batch.of_one("", "type", b"after"))
            else:
                await engine.commit(case.name, Draft([b'{"type":"after"}'], ["after"], "a", b""))
        except LogDamaged:
            self._check(damaged, case, "a sound log takes no writes")
        else:
            self._check(not damaged, case, "a damaged log takes writes")
        now = (self._directory / case.file).read_bytes()
        self._check(now.startswith(before), case, "an append changed what was there")
        self._check((now == before) == damaged, case, "an append did not append")
        return now

    async def _check_order(self, engine: FilesEngine) -> None:
        """Every event that is served stands once in the global order, in the order of its log."""
        if self._state == "trusted":
            await self._check_failing(engine)
            return
        head = await engine.settle()
        cursor = engine.cursor(Scope(), 1, head)
        ordered: dict[bytes, list[bytes]] = {}
        while (part := await engine.read_order(cursor)) is not None:
            for _, line in part.each():
                stream = line[len(b'{"stream":"') :].partition(b'"')[0]
                ordered.setdefault(stream, []).append(line)
        for case in self._cases:
            log = engine.find(case.name)
            assert log is not None
            text = (self._directory / case.file).read_bytes()[: log.length]
            if case.form == TSV:
                text = documents(split_rows(text), case.name, 1)
            found = ordered.get(case.name.encode(), [])
            self._check(found == text.split(b"\n")[:-1], case, "the global order has other events")

    async def _check_failing(self, engine: FilesEngine) -> None:
        """A read that comes to a line that is no event names the log."""
        cursor = engine.cursor(Scope(), 1, await engine.settle())
        try:
            while await engine.read_order(cursor) is not None:
                pass
        except ReadFailed as error:
            check("is damaged between lines" in str(error), f"a read is told {error}")


def copy(source: Path, to: Path) -> None:
    """Copy a directory with the times of its files, by which the index knows them."""
    shutil.copytree(source, to, copy_function=shutil.copy2)


@contextmanager
def told_by_hub() -> Iterator[list[str]]:
    """What the hub says in its log, at WARNING and above."""
    told: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    logger, handler = logging.getLogger("hub"), Handler(logging.WARNING)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield told
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def by_file(told: list[str]) -> dict[str, str]:
    """What was said of each file, by its name."""
    found: dict[str, str] = {}
    for each in told:
        for word in each.split():
            name = word.rstrip(":").rpartition("/")[2]
            if name.endswith((TSV, NDJSON)):
                found[name] = found.get(name, "") + each + "\n"
    return found
