"""Lines of both formats, through the same questions; and what may stand in a log of documents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.document import Keys, Metadata
from hub.errors import InvalidEvent, LogDamaged
from hub.formats import NDJSON, TSV
from hub.lines import check_documents, line_breaks, lines_of_format, reversed_lines
from tests import examples
from tests.documents import commit, payloads, spellings, written

DOCUMENTS = lines_of_format(NDJSON)
ROWS = lines_of_format(TSV)

TSV_LINES = [b"1\ta\tx\ty\n", "ä\t\t\n".encode(), b"1\tb\t1\ta\n", b"11\ta\t\n"]
DOCUMENT_LINES = [
    written("abcd", "1", {"type": "a", "data": "x"}),
    written("abcd", "ä", {"n": [1, 2]}),
    written("abcd", "1", {"type": "b", "data": '"id":"11"'}),
    written("abcd", "11", {"type": "a", "of": {"metadata": {"id": "ä"}}}),
]


@pytest.mark.parametrize(("lines", "chunk"), [(ROWS, TSV_LINES), (DOCUMENTS, DOCUMENT_LINES)])
def test_lines(lines: Any, chunk: list[bytes]) -> None:
    whole = b"".join(chunk)
    rows = lines.rows(whole)
    assert [row[:2] for row in rows] == [
        [b"1", b"a"],
        ["ä".encode(), b""],
        [b"1", b"b"],
        [b"11", b"a"],
    ]
    for each, row in zip(chunk, rows, strict=True):
        for one in (each, each[:-1]):
            assert lines.id(one) == row[0]
            for kind in (b"a", b"b", b"", b"x"):
                assert lines.typed(kind)(one) == (row[1] == kind)
    assert lines.rows(b"") == []
    assert lines.of_type(whole, b"a") == chunk[0] + chunk[3]
    assert lines.of_type(whole, b"") == chunk[1]
    assert lines.of_type(whole, b"x") == b""
    places = [len(b"".join(chunk[:n])) for n in range(4)]
    for identity, number in {"1": 2, "ä": 1, "11": 3}.items():
        assert lines.find(whole, identity.encode()) == places[number]
    for identity in ("2", "", "x", "a", "11\t", '1"', "id", "n"):
        assert lines.find(whole, identity.encode()) == -1
    assert lines.find(chunk[0] + chunk[3], b"1") == 0


def test_a_line_whose_id_is_not_utf8_has_none() -> None:
    assert DOCUMENTS.id(DOCUMENT_LINES[0].replace(b'"1"', b'"\xb2"')) == b""


def test_rows_of_documents_have_compact_payloads() -> None:
    found = DOCUMENTS.rows(b"".join(DOCUMENT_LINES))
    assert found[1][2] == b'{"n":[1,2]}'
    assert found[3][2] == '{"type":"a","of":{"metadata":{"id":"ä"}}}'.encode()


def test_documents_are_kept_as_they_stand() -> None:
    spaced = b' {"payload": {"type" :"a"}, "metadata": {"id": "1"}, "stream":"abcd"}\r\n'
    assert DOCUMENTS.of_type(DOCUMENT_LINES[1] + spaced, b"a") == spaced


def test_the_key_of_the_type_can_be_another() -> None:
    lines = lines_of_format(NDJSON, Keys(type="data"))
    assert lines.typed(b"x")(DOCUMENT_LINES[0])
    assert not lines.typed(b"a")(DOCUMENT_LINES[0])
    assert lines.rows(DOCUMENT_LINES[0])[0][1] == b"x"
    assert lines.of_type(b"".join(DOCUMENT_LINES), b"x") == DOCUMENT_LINES[0]


@pytest.mark.parametrize("text", [b"", b"{}", b"1", b'{"stream":"abcd"', b'{"metadata":{"id":1}}'])
def test_what_is_no_document_any_more(text: bytes) -> None:
    assert DOCUMENTS.id(text) == b""
    assert not DOCUMENTS.typed(b"")(text)
    assert DOCUMENTS.of_type(text + b"\n" + DOCUMENT_LINES[0], b"a") == DOCUMENT_LINES[0]
    with pytest.raises(LogDamaged, match="not a document"):
        DOCUMENTS.rows(DOCUMENT_LINES[0] + text + b"\n")


ids = st.sampled_from(["1", "11", "ä", "a/b", "a\\", '"', "\u2028", "\U0001f600", "u", "2026+1"])


@given(st.data(), st.lists(ids, max_size=6), ids)
def test_ids_are_found_in_every_spelling(
    data: st.DataObject, chosen: list[str], wanted: str
) -> None:
    chunk = []
    for identity in chosen:
        other = data.draw(ids)
        document = {
            "stream": "abcd",
            "payload": {"id": other, "text": f'"{other}"', other: identity},
            "metadata": {"id": identity, "other": other},
        }
        chunk.append(data.draw(spellings(document)))
    expected = -1
    if wanted in chosen:
        number = len(chosen) - 1 - chosen[::-1].index(wanted)
        expected = len(b"".join(chunk[:number]))
    assert DOCUMENTS.find(b"".join(chunk), wanted.encode()) == expected


kinds = st.sampled_from(["a", "ä", "a/b", "a\\", '"', "\U0001f600", "", "a\tb"])


@given(st.data(), st.lists(st.one_of(kinds, st.none()), max_size=6), kinds.filter(str.isprintable))
def test_types_are_found_in_every_spelling(
    data: st.DataObject, chosen: list[str | None], wanted: str
) -> None:
    chunk = []
    for kind in chosen:
        payload = {"type": kind, "other": data.draw(kinds)}
        document = {"stream": "abcd", "payload": payload, "metadata": {"id": wanted}}
        chunk.append(data.draw(spellings(document)))
    fields = [kind if kind and "\t" not in kind else "" for kind in chosen]
    expected = [line for line, kind in zip(chunk, fields, strict=True) if kind == wanted]
    assert DOCUMENTS.of_type(b"".join(chunk), wanted.encode()) == b"".join(expected)


@pytest.mark.parametrize("spelling", [b"\\u0061/b", b"a\\/b"])
def test_an_id_with_escapes_that_it_does_not_need(spelling: bytes) -> None:
    plain, escaped = (b'{"metadata":{"id":"%b"}}\n' % each for each in (b"a/b", spelling))
    for chunk, place in {
        escaped + plain: len(escaped),
        plain + escaped: len(plain),
        plain + escaped + written("abcd", "x", {"a": "a/b"}): len(plain),
        escaped: 0,
    }.items():
        assert DOCUMENTS.find(chunk, b"a/b") == place


# What may stand in a log


@given(
    st.lists(st.tuples(examples.ids.filter(bool), payloads), max_size=5),
    st.sampled_from(["abcd", "shop/orders#1"]),
    st.data(),
)
def test_documents_in_any_spelling_are_sound(
    wanted: list[tuple[str, dict[str, Any]]], stream: str, data: st.DataObject
) -> None:
    chunk = b""
    for identity, payload in wanted:
        document = {
            "stream": stream,
            "payload": payload,
            "metadata": {"id": identity, "a": payload},
        }
        chunk += data.draw(spellings(document))
    assert check_documents(chunk, stream) == [Metadata(identity) for identity, _ in wanted]


def test_a_commit_is_sound() -> None:
    chunk = commit("abcd", 7, b"{}", '{"type":"ä"}'.encode())
    found = check_documents(chunk, "abcd")
    assert [each.commit_version for each in found] == [0, 1]
    assert [each.stream_version for each in found] == [7, 8]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", "not a document"),
        (b" ", "not a document"),
        (b"[]", "not a document: Expected `object`"),
        (b"{}", "not a document: Object missing required field `stream`"),
        (b'{"stream":"abcd","metadata":{"id":"1"}}', "missing required field `payload`"),
        (b'{"stream":"abcd","payload":{}}', "missing required field `metadata`"),
        (b'{"stream":"abcd","payload":{},"metadata":{}}', "missing required field `id`"),
        (b'{"stream":"abcd","payload":[],"metadata":{"id":"1"}}', "Expected `object`.*payload"),
        (b'{"stream":"abcd","payload":{},"metadata":{"id":1}}', r"Expected `str`.*metadata\.id"),
        (b'{"stream":"abcd","payload":{},"metadata":{"id":""}}', "id is empty"),
        (b'{"stream":"abcd","payload":{},"metadata":{"id":"a\\tb"}}', "what a header cannot"),
        (b'{"stream":"abcd","payload":{},"metadata":{"id":" a"}}', "what a header cannot"),
        (b'{"stream":"abcd","payload":{},"metadata":{"id":"\\u000b"}}', "what a header cannot"),
        (b'{"stream":"abc","payload":{},"metadata":{"id":"1"}}', "its stream is 'abc', but .*abcd"),
        (b'{"stream":null,"payload":{},"metadata":{"id":"1"}}', "Expected `str`"),
        (b'{"stream":"abcd","payload":{"a":"\xff"},"metadata":{"id":"1"}}', "not UTF-8"),
        (b'{"stream":"abcd","payload":{"\xc3":1},"metadata":{"id":"1"}}', "not UTF-8"),
        (b'{"stream":"abcd","payload":{"a":"\xed\xa0\x80"},"metadata":{"id":"1"}}', "not UTF-8"),
        (b'{"stream":"abcd","payload":{"a":"\x0b"},"metadata":{"id":"1"}}', "malformed"),
        (b'{"stream":"abcd","payload":{"a":01},"metadata":{"id":"1"}}', "malformed"),
        (b'{"stream":"abcd","payload":{"a":NaN},"metadata":{"id":"1"}}', "malformed"),
        (
            b'{"stream":"abcd","payload":{},"metadata":{"id":"1","commitSize":"1"}}',
            "Expected `int`",
        ),
        (b'{"stream":"abcd","payload":{},"metadata":{"id":"1","commitId":1}}', "Expected `str`"),
        (DOCUMENT_LINES[0][:-1] * 2, "malformed"),
        (DOCUMENT_LINES[0][:-2], "not a document"),
        (b"\xef\xbb\xbf" + DOCUMENT_LINES[0][:-1], "malformed"),
        (
            b'{"stream":"abcd","payload":{"a":%b},"metadata":{"id":"1"}}' % (b"[" * 100_000),
            "recursion",
        ),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_what_is_no_document_of_the_stream_is_named(bad: bytes, reason: str, before: int) -> None:
    good = written("abcd", "ä", {"a": "ä"})
    with pytest.raises(InvalidEvent, match=reason) as caught:
        check_documents(good * before + bad + b"\n" + good, "abcd")
    assert caught.value.line == before + 1


def test_a_document_on_two_lines_is_none() -> None:
    chunk = DOCUMENT_LINES[0].replace(b", ", b",\n", 1) + DOCUMENT_LINES[1][:-1]
    chunk += DOCUMENT_LINES[1]
    with pytest.raises(InvalidEvent) as caught:
        check_documents(chunk, "abcd")
    assert caught.value.line == 1


def test_a_document_as_deep_as_a_payload_may_be_is_read() -> None:
    payload = b'{"a":' * 256 + b"1" + b"}" * 256
    chunk = commit("abcd", 0, payload)
    assert check_documents(chunk, "abcd")
    assert DOCUMENTS.rows(chunk)[0][2] == payload


@given(st.binary(max_size=40) | st.text("a\n\r", max_size=40).map(str.encode))
def test_line_breaks_are_counted(data: bytes) -> None:
    assert line_breaks(data) == data.count(b"\n")


def test_lines_reversed() -> None:
    assert reversed_lines(b"a\n") == b"a\n"
    assert reversed_lines(b"a\nb\n\nc\n") == b"c\n\nb\na\n"
