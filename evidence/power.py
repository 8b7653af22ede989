"""The lost cache: what a hub did to its files, as a power cut would have left it at any moment."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from evidence.cache import Cache, Cut
from evidence.events import token_of
from evidence.recording import SYNC_INTERVAL, Recording, Told, record
from evidence.run import Broken, Run, check
from evidence.shim import Call, Entry
from evidence.store import Found, look
from hub.consumers.checkpoint import Checkpoints, Damaged
from hub.errors import ReadFailed
from hub.options import Durability

NEW_SECONDS = 2.0
"""How long a log may have been there without the index knowing of it: some tenths of a second."""

AGAIN = 4
"""Of the states, one that is opened twice."""


def power(run: Run) -> list[str]:
    """Record what a hub does to its files; look at what a power cut would leave at any moment.

    The record has each write, sync, rename and new name, of SQLite's files too, and what
    was sent to clients, in the order in which it happened. At many places of it, directories
    are made as a power cut could leave them: only what was synced; or of the rest some
    sectors, some pages, some names, or lengths without content. The hub's engine opens each.
    With `always`, everything that anybody was told is there, at the position that was told;
    with `interval` all that was told before the last interval; with `os` each log is the
    beginning of what it was, or says at which line it is damaged. With the index lost, too,
    no event is. The same after syncs that failed, whose pages the system dropped.
    """
    logging.getLogger("hub").setLevel(logging.CRITICAL)  # of what it opens in this process
    shown = []
    for durability, faulty in (
        (Durability.ALWAYS, False),
        (Durability.ALWAYS, True),
        (Durability.INTERVAL, False),
        (Durability.OS, False),
    ):
        name = f"{durability.value}{', with syncs that fail' * faulty}"
        run.say(f"recording {name}")
        recording = asyncio.run(record(run, durability, faulty))
        run.say(f"{len(recording.entries):,} entries, {len(recording.told):,} told")
        moments = run.pick(12 if durability is Durability.ALWAYS else 5, 60)
        counts = _Cutting(run, recording).go(moments)
        states = ", ".join(f"{counts[what]:,} {what}" for what in sorted(counts))
        shown.append(f"{name}: {len(recording.entries):,} entries, {states}")
    return shown


class _Cutting:
    """Goes through a recording, and looks at what a power cut would leave."""

    def __init__(self, run: Run, recording: Recording) -> None:
        self._run = run
        self._recording = recording
        self._chance = run.chance(f"cuts {recording.directory.name}")
        self._writes = {token: each for each in recording.writes for token in each.tokens}
        self._by_position = {str(each.position): each for each in recording.writes}
        self._by_id = Counter(each.id for each in recording.writes)
        self._ids = {each.id: each for each in recording.writes}
        self._counts: Counter[str] = Counter()
        self._logs = self._all_logs()
        self._made = {
            unquote(Path(each.path).stem): each.time
            for each in recording.entries
            if each.call is Call.CREATED
        }

    def _all_logs(self) -> dict[str, list[int]]:
        """The tokens of each log in the end."""
        copy = self._recording.directory / "end"
        shutil.copytree(self._recording.root / "events", copy)
        found = look(copy, 1)
        shutil.rmtree(copy)
        return _by_log(found)

    def go(self, moments: int) -> dict[str, int]:
        found = self._recording.entries
        chosen = {self._chance.randrange(1, len(found) + 1) for _ in range(moments)}
        told = [each.at for each in self._recording.told]
        chosen |= set(self._chance.sample(told, min(moments, len(told))))
        cache = Cache(self._recording.root)
        for at, entry in enumerate(found, 1):
            cache.take(entry)
            if at in chosen:
                for cut in Cut if self._run.long else self._chance.sample(list(Cut), 2):
                    self._cut(cache, cut, at, entry)
            if at in self._recording.ends:
                cache.restart()
        return dict(self._counts)

    def _cut(self, cache: Cache, cut: Cut, at: int, entry: Entry) -> None:
        for lost in (False, True) if cut is Cut.SECTORS else (False,):
            place = self._recording.directory / "left"
            cache.leave(place, cut, self._chance)
            what = f"{cut.value}{', the index lost' * lost}"
            if lost:
                for each in (place / "events" / ".hub").glob("index.sqlite*"):
                    each.unlink()
            try:
                self._check(place / "events", at, entry.time, lost)
            except ReadFailed as error:
                # A page is gone that was written long ago, by a hub that never syncs.
                if self._recording.durability is not Durability.OS or "lines" not in str(error):
                    raise
                self._counts["orders that say which lines are damaged"] += 1
            except Exception as error:
                raise Broken(
                    f"{self._recording.directory.name}, cut at entry {at} ({entry.call.name} "
                    f"{Path(entry.path).name}), of what was not synced: {what}: {error!r}"
                ) from error
            shutil.rmtree(place)
            self._counts["states"] += 1

    def _check(self, events: Path, at: int, now: int, lost: bool) -> None:
        recording = self._recording
        always = recording.durability is Durability.ALWAYS
        found = look(events, 1)
        head = max(found.documents, default=0)
        # Where NULs stand in a log that the index does not know nobody knows who lost them.
        old = [name for name in found.damaged if self._made[name] < now - NEW_SECONDS * 1e9]
        if always and not lost:
            check(not old, f"logs take no writes: {found.damaged}")
            others = {name: told for name, told in found.grave.items() if name not in found.damaged}
            check(not others, f"hub verify: {others}")
            check(len(found.documents) == head, f"positions have gaps: {head} are given")
        self._check_logs(found)
        self._counts["damaged logs"] += len(found.damaged)
        if self._counts["states"] % AGAIN == 0:
            again = look(events, 2)
            after = {**found.documents, found.position: again.documents.get(found.position)}
            check(after == again.documents, "after one more start it is another order")
        self._check_told(found, events, at, now, lost)

    def _check_logs(self, found: Found) -> None:
        always = self._recording.durability is Durability.ALWAYS
        for name, tokens in _by_log(found).items():
            check(len(set(tokens)) == len(tokens), f"{name}: an event is there twice")
            if not self._recording.faulty:
                begin = self._logs.get(name, [])[: len(tokens)]
                check(tokens == begin, f"{name} is not the beginning of what it was")
            if name not in found.damaged and (always or name in found.committed):
                there = set(tokens)
                for token in tokens:
                    if not there.issuperset(self._writes[token].tokens):
                        raise Broken(f"{name}: only a part is there of {self._writes[token]}")

    def _check_told(self, found: Found, events: Path, at: int, now: int, lost: bool) -> None:
        recording = self._recording
        always = recording.durability is Durability.ALWAYS
        places = {token_of(each): place for place, each in found.documents.items()}
        grace = SYNC_INTERVAL + 2 * recording.longest_sync() + recording.longest_pause() + 0.2
        highest = 0
        for told in recording.told:
            if told.at >= at:
                break
            if told.kind in ("closed", "derived", "consumer"):
                self._check_said(found, events, told)
                continue
            if recording.durability is Durability.OS or (
                not always and told.time > self._synced_since(told, at, now) - grace * 1e9
            ):
                continue
            tokens, position = self._meaning(told)
            here = [places.get(token, 0) for token in tokens]
            if not all(here):
                raise Broken(f"lost: {told}, tokens {tokens}")
            self._counts["things that were told"] += 1
            if position and always and not lost:
                highest = max(highest, position)
                if here[-1] != position:
                    raise Broken(f"{told}: it has position {here[-1]}")
        check(found.position > highest, f"position {found.position} is given again")

    def _synced_since(self, told: Told, at: int, now: int) -> int:
        """Until when somebody was there to sync: while no hub is open, what was written waits."""
        recording = self._recording
        end = next(end for end in recording.ends if end >= told.at)
        later = recording.entries[end:at]
        if at > end and not any(each.call is Call.SENT for each in later):
            return recording.entries[end - 1].time
        return now

    def _meaning(self, told: Told) -> tuple[list[int], int]:
        """The tokens of the events that are there then, and the position of the last, if told."""
        if told.kind == "frame":
            return [int(told.value)], int(told.other) if told.other.isdigit() else 0
        if told.kind == "position":
            write = self._by_position.get(told.value)
            return (write.tokens, write.position) if write else ([], 0)
        if self._by_id[told.value] != 1:
            return [], 0  # nobody got the answer; or two logs had an event at that microsecond
        return self._ids[told.value].tokens, 0

    def _check_said(self, found: Found, events: Path, told: Told) -> None:
        self._counts["definitions that were told"] += 1
        if told.kind == "consumer":
            with suppress(Damaged):
                Checkpoints(events / ".hub" / "consumers").read(told.value)
                return
            raise Broken(f"consumer {told.value!r} is lost")
        there = found.closed if told.kind == "closed" else found.derived
        check(told.value in there, f"lost: {told}")


def _by_log(found: Found) -> dict[str, list[int]]:
    """The tokens of each log, in its order."""
    logs: dict[str, list[tuple[int, int]]] = {}
    for each in found.documents.values():
        if each["payload"]["type"] != "Later":
            version = each["metadata"]["streamVersion"]
            logs.setdefault(each["stream"], []).append((version, token_of(each)))
    for name, pairs in logs.items():
        versions = [version for version, _ in sorted(pairs)]
        check(versions == list(range(len(versions))), f"{name}: revisions are missing, or twice")
    return {name: [token for _, token in sorted(pairs)] for name, pairs in logs.items()}
