"""Watches: no event that gets its place goes by a commit with a condition unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hub.batch import TsvReader
from hub.document import KEYS, Draft, labels_reader, parts_of
from hub.errors import ConditionConflict, VersionConflict
from hub.event import IdOrder, Limits
from hub.formats import NDJSON, TSV, Batch
from hub.storage import watches as module
from hub.storage.group import Entry, enter
from hub.storage.log import Log
from hub.storage.watches import CommitGuard, Watch, Watches, condition_conflict

read = labels_reader(KEYS)


def of_type(kind: str) -> Callable[[str, bytes], bool]:
    return lambda stream, document: read(document).type == kind


def batch(*kinds: str) -> Batch:
    reader = TsvReader(Limits())
    reader.feed("".join(f"\t{kind}\tdata\n" for kind in kinds).encode())
    return reader.finish()


def draft(*kinds: str) -> Draft:
    payloads = [b'{"type":"%b"}' % kind.encode() for kind in kinds]
    return Draft(payloads, list(kinds), "a-commit")


class Bench:
    """Logs and watches; batches get their places without being written."""

    def __init__(self) -> None:
        self.watches = Watches(KEYS)
        self.logs = {form: Log(f"log-{form}", form) for form in (TSV, NDJSON)}

    def form(
        self, form: str, content: Batch | Draft, guard: CommitGuard | None = None
    ) -> tuple[Entry, list[Watch]]:
        """Give a batch its place."""
        log = self.logs[form]
        entry = enter(log.name, form, log.version, IdOrder(), content, lambda: 10**18)
        log.forming.append(entry)
        return entry, self.watches.tell(log, entry, guard)

    def end(self, form: str, *, position: int = 0) -> None:
        """What is under way on a log is written, or fails."""
        log = self.logs[form]
        for entry in log.forming:
            entry.receipt.position = position
        log.forming = []

    def watch(self, kind: str) -> Watch:
        return self.watches.open(of_type(kind), self.logs.values())


@pytest.fixture
def bench() -> Bench:
    return Bench()


CONTENTS = [(TSV, batch("B", "A")), (NDJSON, batch("B", "A")), (NDJSON, draft("B", "A"))]


@pytest.mark.parametrize(("form", "content"), CONTENTS)
async def test_what_gets_its_place_is_seen(bench: Bench, form: str, content: Batch | Draft) -> None:
    watch, other = bench.watch("A"), bench.watch("C")
    bench.form(form, content)
    assert watch.hit
    assert watch.hit.log.name == f"log-{form}"
    assert other.hit is None


@pytest.mark.parametrize(("form", "content"), CONTENTS)
async def test_what_is_under_way_is_seen(bench: Bench, form: str, content: Batch | Draft) -> None:
    entry, _ = bench.form(form, content)
    watch, other = bench.watch("A"), bench.watch("C")
    assert watch.hit
    assert watch.hit.entry is entry
    assert other.hit is None


async def test_documents_are_as_they_will_stand(bench: Bench) -> None:
    """Also those of a channel: with the name, the revision, the type of the data."""
    seen: list[tuple[str, bytes]] = []

    def see(stream: str, document: bytes) -> bool:
        seen.append((stream, document))
        return False

    bench.logs[TSV].version = 7
    watch = bench.watches.open(see, bench.logs.values())
    bench.form(TSV, batch("A", "B"))
    bench.form(NDJSON, draft("C"))
    assert [stream for stream, _ in seen] == ["log-tsv", "log-tsv", "log-ndjson"]
    assert [read(document).type for _, document in seen] == ["A", "B", "C"]
    metadata = [bytes(parts_of(document).metadata) for _, document in seen]
    assert b'"streamVersion":8' in metadata[1]
    assert b'"commitId":"a-commit"' in metadata[2]
    bench.watches.close(watch)


async def test_a_closed_watch_sees_nothing_and_lets_no_commit_pass(bench: Bench) -> None:
    watch = bench.watch("A")
    guard = CommitGuard(None, watch)
    assert guard.refusal("log-tsv", 5) is None
    bench.watches.close(watch)
    bench.form(TSV, batch("A"))
    assert watch.hit is None
    assert isinstance(guard.refusal("log-tsv", 5), ConditionConflict)


async def test_a_commit_does_not_see_itself(bench: Bench) -> None:
    watch, other = bench.watch("A"), bench.watch("A")
    bench.form(NDJSON, draft("A"), CommitGuard(None, watch))
    assert watch.hit is None
    assert other.hit is not None


async def test_after_lines_by_hand_nobody_is_sure(bench: Bench) -> None:
    watches = [bench.watch("A"), bench.watch("B")]
    bench.watches.alarm(bench.logs[TSV])
    for each in watches:
        assert each.hit
        assert isinstance(CommitGuard(None, each).refusal("x", 0), ConditionConflict)


async def test_a_condition_that_breaks_refuses_and_stops_no_other(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(stream: str, document: bytes) -> bool:
        raise RecursionError("too deep")

    watch = bench.watches.open(fail, bench.logs.values())
    other = bench.watch("A")
    bench.form(TSV, batch("A"))
    assert watch.hit
    assert other.hit
    assert "a condition cannot be held against an event of 'log-tsv'" in caplog.text


# Whether it came to be


async def test_an_event_that_is_stored_is_a_hit(bench: Bench) -> None:
    watch = bench.watch("A")
    assert not await watch.is_true()
    bench.form(TSV, batch("A"))
    waiting = asyncio.ensure_future(watch.is_true())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    bench.end(TSV, position=5)
    assert await waiting


async def test_an_event_that_is_not_stored_is_none(bench: Bench) -> None:
    watch = bench.watch("A")
    bench.form(TSV, batch("A"))
    bench.end(TSV)
    assert not await watch.is_true()


async def test_lines_by_hand_may_be_none(bench: Bench) -> None:
    watch = bench.watch("A")
    bench.watches.alarm(bench.logs[TSV])
    assert not await watch.is_true()


# Guards


@pytest.mark.parametrize(("expected", "version"), [(0, 1), (1, 0), (5, 7)])
def test_another_version_is_refused(expected: int, version: int) -> None:
    error = CommitGuard(expected).refusal("a-log", version)
    assert isinstance(error, VersionConflict)
    assert error.details == {"expected": expected, "actual": version}
    assert str(error) == f"stream 'a-log' has version {version}, not {expected}"


async def test_the_right_version_passes(bench: Bench) -> None:
    assert CommitGuard(5).refusal("a-log", 5) is None
    assert CommitGuard(None).refusal("a-log", 5) is None
    watch = bench.watch("A")
    assert CommitGuard(5, watch).refusal("a-log", 5) is None
    bench.form(TSV, batch("A"))
    assert isinstance(CommitGuard(5, watch).refusal("a-log", 5), ConditionConflict)
    assert isinstance(CommitGuard(5, watch).refusal("a-log", 6), VersionConflict)


def test_a_conflict_says_where() -> None:
    assert condition_conflict("a-log").details == {"stream": "a-log"}
    assert condition_conflict("a-log", 7).details == {"stream": "a-log", "position": 7}
    assert "at position 7" in str(condition_conflict("a-log", 7))


# The order of those who rule each other out


async def test_what_a_commit_rules_out_comes_behind_it(bench: Bench) -> None:
    """The commit has its place, and is not written yet."""
    watch = bench.watch("A")
    bench.form(NDJSON, draft("B"), CommitGuard(None, watch))
    _, before = bench.form(TSV, batch("C"))
    assert before == []
    _, before = bench.form(TSV, batch("A"))
    assert before == [watch]
    assert watch.is_under_way()
    bench.end(NDJSON, position=1)
    assert not watch.is_under_way()
    _, before = bench.form(TSV, batch("A"))
    assert before == []


async def test_so_it_is_when_nobody_waits_for_the_commit_any_more(bench: Bench) -> None:
    watch = bench.watch("A")
    bench.form(NDJSON, draft("B"), CommitGuard(None, watch))
    bench.watches.close(watch)
    _, before = bench.form(TSV, batch("A"))
    assert before == [watch]
    bench.end(NDJSON, position=1)
    _, before = bench.form(TSV, batch("A"))
    assert before == []
    assert bench.watches._given_up == set()


async def test_in_one_log_nobody_need_wait(bench: Bench) -> None:
    watch = bench.watch("A")
    bench.form(NDJSON, draft("B"), CommitGuard(None, watch))
    _, before = bench.form(NDJSON, draft("A"))
    assert before == []


# Batches that nobody looks at


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_BYTES", 0)


async def test_a_turn_of_the_loop_has_time_for_so_much(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, _ = bench.form(TSV, batch("C"))
    monkeypatch.setattr(module, "LOOK_BYTES", 2 * entry.size)
    watches = [bench.watch("A") for _ in range(3)]  # two of them look at this
    bench.form(TSV, batch("C"))
    assert all(each.hit and not each.hit.seen for each in watches)
    await asyncio.sleep(0)
    bench.end(TSV)
    watches = [bench.watch("A"), bench.watch("A"), bench.watch("C")]
    bench.form(TSV, batch("C"))
    assert sum(each.hit is not None and not each.hit.seen for each in watches) == 1


async def test_of_what_nobody_looked_at_nobody_is_sure(bench: Bench, blind: None) -> None:
    watch = bench.watch("A")
    bench.form(TSV, batch("C"))
    assert isinstance(CommitGuard(None, watch).refusal("x", 0), ConditionConflict)
    waiting = asyncio.ensure_future(watch.is_true())
    await asyncio.sleep(0.03)
    assert not waiting.done()
    bench.end(TSV, position=5)
    assert not await waiting


async def test_what_is_under_way_and_not_looked_at_can_be_waited_for(
    bench: Bench, blind: None
) -> None:
    for form in (TSV, NDJSON):
        bench.form(form, batch("A"))
    watch = bench.watch("A")
    assert watch.hit is None
    waiting = asyncio.ensure_future(watch.unseen())
    for form in (TSV, NDJSON):
        await asyncio.sleep(0.03)
        assert not waiting.done()
        bench.end(form, position=5)
    await waiting


async def test_what_nobody_looked_at_comes_behind_commits_under_way(
    bench: Bench, blind: None
) -> None:
    watch = bench.watch("A")
    bench.form(NDJSON, draft("B"), CommitGuard(None, watch))
    _, before = bench.form(TSV, batch("C"))
    assert before == [watch]


# Insisting


async def test_what_comes_after_one_who_insists_comes_behind_him(bench: Bench) -> None:
    watch = bench.watch("A")
    bench.form(TSV, batch("A"))
    guard = CommitGuard(None, watch)
    assert guard.refusal("log-ndjson", 0)
    watch.insist(bench.logs[NDJSON])
    waiting = asyncio.ensure_future(watch.unseen())
    await asyncio.sleep(0.03)
    assert not waiting.done()
    bench.end(TSV, position=1)
    await waiting
    _, before = bench.form(TSV, batch("A"))
    assert before == [watch]
    assert guard.refusal("log-ndjson", 0) is None
    bench.form(NDJSON, draft("B"), guard)
    assert watch.is_under_way()
    bench.end(NDJSON, position=2)
    assert not watch.is_under_way()


async def test_nobody_else_with_a_condition_comes_while_one_insists(bench: Bench) -> None:
    """He could wait for one that comes, and that one, or its group, for him."""
    watch, other = bench.watch("A"), bench.watch("B")
    watch.insist(bench.logs[NDJSON])
    assert isinstance(CommitGuard(None, other).refusal("log-tsv", 0), ConditionConflict)
    assert not await other.is_true()
    assert CommitGuard(0).refusal("log-tsv", 0) is None
    bench.watches.close(watch)
    assert not watch.is_under_way()
    assert CommitGuard(None, bench.watch("B")).refusal("log-tsv", 0) is None
    with pytest.raises(ConditionConflict):
        watch.insist(bench.logs[NDJSON])


async def test_lines_by_hand_make_also_one_who_insists_unsure(bench: Bench) -> None:
    watch = bench.watch("A")
    watch.insist(bench.logs[NDJSON])
    bench.watches.alarm(bench.logs[TSV])
    assert isinstance(CommitGuard(None, watch).refusal("x", 0), ConditionConflict)


async def test_one_insists_at_a_time_and_the_others_wait(bench: Bench) -> None:
    done: list[str] = []

    async def insist(name: str) -> None:
        async with bench.watches.turn():
            await asyncio.sleep(0.02)
            done.append(name)

    async def wait() -> None:
        await bench.watches.quiet()
        done.append("quiet")

    await wait()
    await asyncio.gather(insist("a"), insist("b"), wait())
    assert done == ["quiet", "a", "b", "quiet"]
