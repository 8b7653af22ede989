"""Ids for a group of batches, and the lines it becomes."""

from __future__ import annotations

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from hub.batch import TsvReader
from hub.event import IdOrder, Limits, id_at
from hub.formats import Batch
from hub.storage import group
from hub.storage.group import Receipt, give_ids, lines_of, pieces_of, size_of

BASE = 1_800_000_000_000_000


def clock() -> int:
    return BASE * 1000


def batch_of(ids: list[str], chunk: int = 1000) -> Batch:
    reader = TsvReader(Limits())
    body = "".join(f"{each}\tt\tdata {n}\n" for n, each in enumerate(ids)).encode()
    for at in range(0, len(body), chunk):
        reader.feed(body[at : at + chunk])
    return reader.finish()


given_ids = st.sampled_from(["", "", "given", id_at(BASE + 3), id_at(BASE - 5)])
batches = st.lists(st.lists(given_ids, min_size=1, max_size=8), min_size=1, max_size=5)


@given(batches, st.integers(10, 100), st.integers(-3, 3))
def test_ids_rise_and_lines_are_whole(ids: list[list[str]], size: int, start: int) -> None:
    order = IdOrder(clock=BASE + start)
    with mock.patch.object(group, "GROUP_BYTES", size):
        entries = [give_ids(order, batch_of(each, size), clock) for each in ids]
        lines = lines_of(entries)
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
    for entry, batch in zip(entries, ids, strict=True):
        here, found = found[: len(batch)], found[len(batch) :]
        assert entry.receipt == Receipt(len(batch), here[0], here[-1])
    assert size_of(entries) <= len(lines)
    # What is known of the order is at least what is true of it.
    true = IdOrder(clock=BASE + start)
    true.extend([line.split(b"\t")[0] for line in lines.split(b"\n")[:-1]])
    assert order.clock == true.clock
    assert true.ordered or not order.ordered


def test_a_single_event_without_id_gets_the_time() -> None:
    entry = give_ids(IdOrder(), Batch.of_one("", "t", b"data"), clock)
    assert lines_of([entry]) == f"{id_at(BASE)}\tt\tdata\n".encode()
    assert entry.receipt == Receipt(1, id_at(BASE), id_at(BASE))


def test_a_single_event_keeps_its_id() -> None:
    order = IdOrder()
    entry = give_ids(order, Batch.of_one("mine", "t", b"data"), clock)
    assert lines_of([entry]) == b"mine\tt\tdata\n"
    assert not order.ordered
    assert give_ids(order, Batch.of_one("", "t", b""), clock).receipt.first_id == id_at(BASE)


def test_many_ids_in_one_batch_rise_by_a_microsecond() -> None:
    order = IdOrder(clock=BASE + 7)
    entry = give_ids(order, batch_of([""] * 5000), clock)
    ids = [line.split(b"\t")[0].decode() for line in lines_of([entry]).split(b"\n")[:-1]]
    assert ids == [id_at(BASE + 8 + n) for n in range(5000)]
    assert order.clock == BASE + 8 + 4999
    assert order.ordered
