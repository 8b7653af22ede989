"""Terms: no event is missed by one, whatever format and spelling its line has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.document import KEYS, Keys, documents, labels_reader
from hub.formats import NDJSON, TSV, split_rows
from hub.storage import terms
from hub.storage.terms import Kind, term_of, terms_of
from tests.documents import payloads, spellings, written

OTHER_KEYS = Keys("тип", "\u2028labels")


def wanted(line: bytes, keys: Keys) -> set[int]:
    """The terms of a document, from what queries and matchers see in it."""
    labels = labels_reader(keys)(line)
    found = {term_of(Kind.TAG, tag) for tag in labels.tags}
    return found | ({term_of(Kind.TYPE, labels.type)} if labels.type else set())


def test_types_and_tags_are_told_apart() -> None:
    assert term_of(Kind.TYPE, "a") != term_of(Kind.TAG, "a")
    assert term_of(Kind.TYPE, "a") != term_of(Kind.TYPE, "b")
    assert term_of(Kind.TAG, "a") == term_of(Kind.TAG, "a")


def test_terms_never_change() -> None:
    """They stand in indexes: who changes them must raise the index's version."""
    assert term_of(Kind.TYPE, "OrderPlaced") == 54822106925754592
    assert term_of(Kind.TAG, "städte/\U0001f600") == 15357766861003600


@given(st.text())
def test_a_term_is_an_integer_that_sqlite_holds(name: str) -> None:
    assert 0 <= term_of(Kind.TYPE, name) < 2**63


def test_long_names_are_not_remembered() -> None:
    terms._remembered.cache_clear()
    term_of(Kind.TAG, "x" * 10_000)
    term_of(Kind.TAG, "x")
    assert terms._remembered.cache_info().currsize == 1


@given(st.lists(payloads.flatmap(spellings), max_size=5), st.sampled_from([KEYS, OTHER_KEYS]))
def test_of_documents(spelled: list[bytes], keys: Keys) -> None:
    lines = [
        written("a-log", "1").replace(b'"payload": {}', b'"payload": ' + each.rstrip(b"\n"))[:-1]
        for each in spelled
    ]
    assert terms_of(lines, NDJSON, keys) == set().union(*(wanted(line, keys) for line in lines))


def _tsv_data(payload: Any) -> st.SearchStrategy[bytes]:
    """A payload as data of a channel's event: in any spelling, over several lines, or cut off."""

    def put_together(text: bytes, before: bytes, less: int) -> bytes:
        cut = text[: -1 if less > 3 else -1 - less]
        return before + cut.decode(errors="ignore").encode()  # no log has half a character

    spaces = st.sampled_from([b"", b" ", b"\x0b\t "])
    return st.builds(put_together, spellings(payload), spaces, st.integers(0, 30))


data_columns = st.one_of(
    payloads.flatmap(_tsv_data),
    st.sampled_from([b"", b"{", b"text", b'"type"', b'{"type":1}', b'{"tags":"one"}', b"[1]"]),
)
renamed = st.sampled_from([KEYS, OTHER_KEYS])


@given(st.lists(st.tuples(st.sampled_from(["", "t", "ü"]), data_columns), max_size=5), renamed)
@settings(max_examples=300)
def test_of_rows_none_is_missing(rows: list[tuple[str, bytes]], keys: Keys) -> None:
    if keys is OTHER_KEYS:
        rows = [
            (kind, data.replace(b'"type"', json.dumps(keys.type).encode())) for kind, data in rows
        ]
        rows = [
            (kind, data.replace(b'"tags"', json.dumps(keys.tags).encode())) for kind, data in rows
        ]
    lines = [b"1\t%b\t%b" % (kind.encode(), data) for kind, data in rows]
    text = b"".join(line + b"\n" for line in lines)
    as_documents = documents(split_rows(text), "a-log", 1, keys=keys).split(b"\n")[:-1]
    expected = set().union(*(wanted(line, keys) for line in as_documents))
    found = terms_of(lines, TSV, keys)
    assert expected <= found
    # Besides there are at most the types of the channel: an event has that of its data.
    assert found <= expected | {term_of(Kind.TYPE, kind) for kind, _ in rows}


@pytest.mark.parametrize("spelled", [b'{"\\u0074ype":"A","t\\u0061gs":["b"]}', b'{"tags":"b"}'])
def test_of_rows_with_keys_in_other_spellings(spelled: bytes) -> None:
    found = terms_of([b"1\tt\t" + spelled], TSV, KEYS)
    assert term_of(Kind.TAG, "b") in found


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (TSV, b"no row"),
        (TSV, b"1\t\xff\t{"),
        (TSV, b'1\tt\t{"type":"x\xff"}'),
        (TSV, b'1\tt\t{"type":' + b"[" * 100_000),
        (NDJSON, b"no document"),
        (NDJSON, b""),
        (NDJSON, b'{"stream":"a","payload":{"type":' + b"[" * 100_000),
    ],
)
def test_what_cannot_be_read_has_none_and_stops_nobody(form: str, line: bytes) -> None:
    other = b'2\tOther\t{"tags":["b"]}' if form == TSV else written("a-log", "2", {"type": "Other"})
    found = terms_of([line, other.rstrip(b"\n")], form, KEYS)
    assert term_of(Kind.TYPE, "Other") in found
    assert len(found) <= 4
