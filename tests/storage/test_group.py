"""Ids and places for a group of batches, and the lines it becomes in either format."""

from __future__ import annotations

from unittest import mock

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hub.batch import TsvReader
from hub.document import Draft, metadata_of, parts_of
from hub.event import IdOrder, Limits, id_at
from hub.formats import NDJSON, TSV, Batch
from hub.storage import group
from hub.storage.group import Entry, Receipt, enter, lines_of_group, pieces_of, size_of

BASE = 1_800_000_000_000_000
NAME = "a-log"


def clock() -> int:
    return BASE * 1000


def batch_of(ids: list[str], chunk: int = 1000) -> Batch:
    reader = TsvReader(Limits())
    body = "".join(f"{each}\tt\tdata {n}\n" for n, each in enumerate(ids)).encode()
    for at in range(0, len(body), chunk):
        reader.feed(body[at : at + chunk])
    return reader.finish()


def draft_of(count: int, metadata: bytes = b"") -> Draft:
    payloads = [b'{"type":"T","n":%d}' % n for n in range(count)]
    return Draft(payloads, ["T"] * count, "a-commit", metadata)


def entered(order: IdOrder, batches: list[Batch | Draft], form: str = TSV) -> list[Entry]:
    """The batches of one group for a log that has 10 events."""
    entries: list[Entry] = []
    version = 10
    for each in batches:
        entries.append(enter(NAME, form, version, order, each, clock))
        version += each.count
    return entries


given_ids = st.sampled_from(["", "", "given", id_at(BASE + 3), id_at(BASE - 5)])
batches = st.lists(st.lists(given_ids, min_size=1, max_size=8), min_size=1, max_size=5)


@given(batches, st.integers(10, 100), st.integers(-3, 3))
def test_ids_rise_and_lines_are_whole(ids: list[list[str]], size: int, start: int) -> None:
    order = IdOrder(clock=BASE + start)
    with mock.patch.object(group, "GROUP_BYTES", size):
        entries = entered(order, [batch_of(each, size) for each in ids])
        lines = lines_of_group(entries)
        pieces = list(pieces_of(entries))
    assert b"".join(pieces) == lines
    assert all(each.endswith(b"\n") for each in pieces)
    found = [line.split(b"\t")[0].decode() for line in lines.split(b"\n")[:-1]]
    wanted = [each for batch in ids for each in batch]
    own = [each for each, was in zip(found, wanted, strict=True) if not was]
    assert [each for each, was in zip(found, wanted, strict=True) if was] == [
        each for each in wanted if each
    ]
    assert own == sorted(set(own))
    assert all(each > id_at(BASE + start) for each in own)
    for number, each in enumerate(wanted):
        if not each:
            assert all(found[number] > other for other in found[:number] if other != "given")
    version = 10
    for entry, batch in zip(entries, ids, strict=True):
        here, found = found[: len(batch)], found[len(batch) :]
        assert entry.receipt == Receipt(len(batch), here[0], here[-1], version, 0, BASE // 1000)
        version += len(batch)
    assert size_of(entries) <= len(lines)
    # What is known of the order is at least what is true of it.
    true = IdOrder(clock=BASE + start)
    true.extend([line.split(b"\t")[0] for line in lines.split(b"\n")[:-1]])
    assert order.clock == true.clock
    assert true.ordered or not order.ordered


@given(batches, st.integers(10, 100))
def test_in_a_log_of_documents_lines_become_commits(ids: list[list[str]], size: int) -> None:
    with mock.patch.object(group, "GROUP_BYTES", size):
        rows = lines_of_group(entered(IdOrder(), [batch_of(each, size) for each in ids]))
        entries = entered(IdOrder(), [batch_of(each, size) for each in ids], NDJSON)
        pieces = list(pieces_of(entries))
    lines = b"".join(pieces).split(b"\n")[:-1]
    version = 10
    for entry, batch in zip(entries, ids, strict=True):
        assert (entry.receipt.version, entry.receipt.count) == (version, len(batch))
        here, lines = lines[: len(batch)], lines[len(batch) :]
        marks = [metadata_of(line) for line in here]
        assert [each.commit_version for each in marks] == list(range(len(batch)))
        assert {each.commit_size for each in marks} == {len(batch)}
        assert len({each.commit_id for each in marks}) == 1
        assert [each.stream_version for each in marks] == list(range(version, version + len(batch)))
        for mark, line in zip(marks, here, strict=True):
            row, _, rows = rows.partition(b"\n")
            identity, kind, data = row.split(b"\t")
            assert mark.id == identity.decode()
            assert parts_of(line).stream == NAME
            payload = msgspec.json.decode(parts_of(line).payload)
            assert payload == {"type": kind.decode(), "data": data.decode()}
        version += len(batch)
    assert lines == []


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(-3, 3))
def test_commits_get_ids_and_places_one_after_the_other(counts: list[int], start: int) -> None:
    order = IdOrder(clock=BASE + start)
    entries = entered(order, [draft_of(each, b',"by":"me"') for each in counts], NDJSON)
    lines = lines_of_group(entries).split(b"\n")[:-1]
    marks = [metadata_of(line) for line in lines]
    ids = [each.id for each in marks]
    first = max(BASE, BASE + start + 1)
    assert ids == [id_at(first + n) for n in range(len(ids))]
    assert [each.stream_version for each in marks] == list(range(10, 10 + len(ids)))
    assert [each.commit_version for each in marks] == [n for each in counts for n in range(each)]
    assert all(b',"by":"me"}}' in each for each in lines)
    assert (order.clock, order.latest, order.ordered) == (first + len(ids) - 1,) * 2 + (True,)
    for entry in entries:
        receipt = entry.receipt
        here, ids = ids[: receipt.count], ids[receipt.count :]
        assert (receipt.first_id, receipt.last_id) == (here[0], here[-1])
        assert receipt.committed_at == BASE // 1000
        assert entry.size >= sum(map(len, entry.lines())) * 0.9


def test_a_single_event_without_id_gets_the_time() -> None:
    (entry,) = entered(IdOrder(), [Batch.of_one("", "t", b"data")])
    assert lines_of_group([entry]) == f"{id_at(BASE)}\tt\tdata\n".encode()
    assert entry.receipt == Receipt(1, id_at(BASE), id_at(BASE), 10, 0, BASE // 1000)


def test_a_single_event_keeps_its_id() -> None:
    order = IdOrder()
    (entry,) = entered(order, [Batch.of_one("mine", "t", b"data")])
    assert lines_of_group([entry]) == b"mine\tt\tdata\n"
    assert not order.ordered
    (entry,) = entered(order, [Batch.of_one("", "t", b"")])
    assert entry.receipt.first_id == id_at(BASE)


def test_many_ids_in_one_batch_rise_by_a_microsecond() -> None:
    order = IdOrder(clock=BASE + 7)
    entries = entered(order, [batch_of([""] * 5000)])
    ids = [line.split(b"\t")[0].decode() for line in lines_of_group(entries).split(b"\n")[:-1]]
    assert ids == [id_at(BASE + 8 + n) for n in range(5000)]
    assert order.clock == BASE + 8 + 4999
    assert order.ordered
