"""NDJSON documents: how they are written, and what is read from those that others wrote."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.document import (
    KEYS,
    NESTING,
    OWN_METADATA,
    Draft,
    Keys,
    Labels,
    Mark,
    Metadata,
    compact_payload,
    documents,
    id_of,
    labels_reader,
    lines_of,
    metadata_of,
    parts_of,
    payload_labels_reader,
    payload_of,
    row_of,
    type_of,
)
from hub.errors import InvalidEvent
from hub.event import Event
from hub.formats import data_column, encode_line, split_rows
from tests import examples
from tests.documents import NUMBERS, json_values, payloads, spellings

OTHER = Keys(type="kind", tags="labels")

# Commits


def test_a_commit_byte_for_byte() -> None:
    both = [b'{"type":"Placed","n":1.10}', b"{}"]
    draft = Draft(both, ["Placed", ""], "c-1", ',"user":"ä"'.encode())
    assert (
        lines_of(draft, "shop/orders", 7, [b"i1", b"i2"], 1795219504123)
        == (
            '{"stream":"shop/orders","payload":{"type":"Placed","n":1.10},"metadata":{"id":"i1",'
            '"commitId":"c-1","committedAt":1795219504123,"commitVersion":0,"commitSize":2,'
            '"streamVersion":7,"user":"ä"}}\n'
            '{"stream":"shop/orders","payload":{},"metadata":{"id":"i2",'
            '"commitId":"c-1","committedAt":1795219504123,"commitVersion":1,"commitSize":2,'
            '"streamVersion":8,"user":"ä"}}\n'
        ).encode()
    )


names = st.from_regex(r"[a-z][a-z0-9]{0,5}([/:@~+=#.-][a-z0-9]{1,5}){0,2}", fullmatch=True)


@given(
    st.lists(payloads, min_size=1, max_size=4),
    names,
    st.integers(0, 10**15),
    st.integers(0, 2**50),
    st.dictionaries(examples.text().filter(lambda key: key not in OWN_METADATA), json_values),
)
def test_what_is_committed_comes_back(
    wanted: list[dict[str, Any]], stream: str, version: int, at: int, user: dict[str, Any]
) -> None:
    encoded = [compact_payload(json.dumps(each).encode()) for each in wanted]
    members = msgspec.json.encode(user)[1:-1]
    draft = Draft(encoded, [], "c-1", b"," + members if members else b"")
    ids = [f"i{number}" for number in range(len(wanted))]
    lines = lines_of(draft, stream, version, [each.encode() for each in ids], at).split(b"\n")
    assert lines.pop() == b""
    assert draft.count == len(lines)
    for number, (line, payload) in enumerate(zip(lines, wanted, strict=True)):
        own = {
            "id": ids[number],
            "commitId": "c-1",
            "committedAt": at,
            "commitVersion": number,
            "commitSize": len(wanted),
            "streamVersion": version + number,
        }
        assert set(own) == OWN_METADATA
        document = json.loads(line)
        assert document == {"stream": stream, "payload": payload, "metadata": {**own, **user}}
        assert list(document) == ["stream", "payload", "metadata"]
        assert list(document["metadata"]) == [*own, *user]
        assert parts_of(line).stream == stream
        assert bytes(parts_of(line).payload) == encoded[number]
        assert json.loads(bytes(parts_of(line).metadata)) == {**own, **user}
        expected = Metadata(ids[number], number, len(wanted), "c-1", version + number)
        assert metadata_of(line) == expected
        assert id_of(line) == ids[number].encode()


# Rows of a channel as documents


def test_a_document_byte_for_byte() -> None:
    rows = [[b"i1", b"Placed", b'{ "n" : 1.10 }'], [b'i"2', b"note", "ä\x0b\tb".encode()]]
    assert (
        documents(rows, "orders-1", 7)
        == (
            '{"stream":"orders-1","payload":{"type":"Placed","n":1.10},'
            '"metadata":{"id":"i1","streamVersion":6}}\n'
            '{"stream":"orders-1","payload":{"type":"note","data":"ä\\n\\tb"},'
            '"metadata":{"id":"i\\"2","streamVersion":7}}\n'
        ).encode()
    )


def test_documents_of_one_type_keep_their_versions() -> None:
    rows = [[b"1", b"a", b""], [b"2", b"b", b""], [b"3", b"", b""], [b"4", b"b", b""]]
    kept = [json.loads(line) for line in documents(rows, "abcd", 10, b"b").split(b"\n")[:-1]]
    assert [each["metadata"]["streamVersion"] for each in kept] == [10, 12]
    assert [each["metadata"]["id"] for each in kept] == ["2", "4"]
    assert documents(rows, "abcd", 10, b"").count(b"\n") == 1


def test_rows_as_a_part_of_one_commit() -> None:
    rows = [[b"1", b"a", b"x"], [b"2", b"b", b"y"]]
    mark = Mark("c-1", 1795219504123, 5, first=3)
    found = [metadata_of(line) for line in documents(rows, "abcd", 10, mark=mark).split(b"\n")[:-1]]
    assert found == [Metadata("1", 3, 5, "c-1", 9), Metadata("2", 4, 5, "c-1", 10)]
    first = documents(rows[:1], "abcd", 10, mark=mark)
    assert first == (
        b'{"stream":"abcd","payload":{"type":"a","data":"x"},"metadata":{"id":"1",'
        b'"commitId":"c-1","committedAt":1795219504123,"commitVersion":3,"commitSize":5,'
        b'"streamVersion":9}}\n'
    )


@given(st.lists(examples.events(examples.ids.filter(bool)), min_size=1), st.integers(1, 10**6))
def test_any_event_is_one_line_of_json(events: list[Event], revision: int) -> None:
    rows = split_rows(b"".join(map(encode_line, events)))
    lines = documents(rows, "a-channel", revision).split(b"\n")
    assert lines.pop() == b""
    for version, (line, event) in enumerate(zip(lines, events, strict=True), revision - 1):
        document = json.loads(line)
        assert list(document) == ["stream", "payload", "metadata"]
        assert document["metadata"] == {"id": event.id, "streamVersion": version}
        assert list(document["metadata"]) == ["id", "streamVersion"]
        if not event.data.lstrip(" \t\n").startswith("{"):
            assert document["payload"] == {"type": event.event, "data": event.data}
            assert row_of(line)[:2] == [event.id.encode(), event.event.encode()]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_keep_their_digits(number: str) -> None:
    data = f'{{"n":{number},"in":[{number},{{"deep": {number}}}]}}'.encode()
    payload = payload_of(b"type", data)
    assert payload == (
        f'{{"type":"type","n":{number},"in":[{number},{{"deep":{number}}}]}}'.encode()
    )
    assert compact_payload(payload.replace(b",", b" , ")) == payload
    line = b'{"stream":"abcd","payload": %b,"metadata":{"id":"1"}}' % payload
    assert row_of(line) == [b"1", b"type", payload]


@pytest.mark.parametrize(
    ("event", "data", "payload"),
    [
        (b"t", b"{}", b'{"type":"t"}'),
        (b"t", b" { } ", b'{"type":"t"}'),
        (b"", b'{"a":1}', b'{"a":1}'),
        (b"t", b'{"a":1,"type":"own"}', b'{"a":1,"type":"own"}'),
        (b"t", b'{"type":null}', b'{"type":null}'),
        (b"t", b'{"a":{"type":1}}', b'{"type":"t","a":{"type":1}}'),
        (b"t", b'{"\\u0074ype":1}', b'{"\\u0074ype":1}'),
        (b"t", b'{\x0b\t"a": 1\x0b}', b'{"type":"t","a":1}'),
        (b'"', b'{"a":1}', b'{"type":"\\"","a":1}'),
        (b"t", b"[1]", b'{"type":"t","data":"[1]"}'),
        (b"t", b"{broken", b'{"type":"t","data":"{broken"}'),
        (b"t", b'{"a":1}{"b":2}', b'{"type":"t","data":"{\\"a\\":1}{\\"b\\":2}"}'),
        (b"t", b'{"a":"\x0b"}', b'{"type":"t","data":"{\\"a\\":\\"\\n\\"}"}'),
        (b"", b"", b'{"type":"","data":""}'),
        (b"t", b'{"a":"x\\u000by"}', b'{"type":"t","a":"x\\u000by"}'),
    ],
)
def test_payloads(event: bytes, data: bytes, payload: bytes) -> None:
    assert payload_of(event, data) == payload


def test_a_payload_with_its_type_under_another_key() -> None:
    assert payload_of(b"t", b'{"type":1}', OTHER) == b'{"kind":"t","type":1}'
    assert payload_of(b"t", b'{"kind":1}', OTHER) == b'{"kind":1}'
    assert payload_of(b"t", b"text", OTHER) == b'{"kind":"t","data":"text"}'
    assert b'"payload":{"kind":"t"}' in documents([[b"1", b"t", b"{}"]], "abcd", 1, keys=OTHER)


@given(
    st.dictionaries(st.sampled_from(["type", "data", "a", "ä"]), json_values, max_size=3),
    examples.types,
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
)
def test_an_object_is_its_own_payload(
    fields: dict[str, Any], event: str, indent: int | str | None, ascii_only: bool
) -> None:
    data = json.dumps(fields, indent=indent, ensure_ascii=ascii_only)
    payload = payload_of(event.encode(), data_column(data.encode()))
    expected = {"type": event, **fields} if event else fields
    assert json.loads(payload) == expected


# Payloads from outside


def nested(levels: int, opening: bytes = b'{"a":', closing: bytes = b"}") -> bytes:
    """An object of so many levels."""
    return b'{"a":' + opening * (levels - 1) + b"1" + closing * (levels - 1) + b"}"


@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]"), (b"[0,", b"]")])
def test_how_deep_a_payload_may_be(opening: bytes, closing: bytes) -> None:
    good = nested(NESTING, opening, closing)
    beside = b'{"b":[],' + good[1:]
    assert compact_payload(beside) == beside
    assert payload_of(b"", good) == good
    for levels in (NESTING + 1, 5000, 100_000):
        bad = nested(levels, opening, closing)
        with pytest.raises(InvalidEvent, match="deeper than 256 levels"):
            compact_payload(bad)
        assert json.loads(payload_of(b"t", bad)) == {"type": "t", "data": bad.decode()}


def test_brackets_side_by_side_or_in_strings_are_not_deep() -> None:
    for payload in (
        b'{"a":[%b]}' % b",".join([b'{"b":[]}'] * 5000),
        b'{"a":"%b"}' % (b"{[" * 5000),
        b'{"a":"\\"%b","b":"%b\\\\"}' % (b"{[" * 5000, b"]}" * 5),
    ):
        assert compact_payload(payload) == payload
    with pytest.raises(InvalidEvent, match="deeper"):
        compact_payload(b'{"a":"\\\\","b":%b,"c":"]"}' % nested(NESTING))


@given(payloads, st.sampled_from([None, 1, "\t"]))
def test_a_payload_loses_its_white_space_and_nothing_else(
    payload: dict[str, Any], indent: int | str | None
) -> None:
    text = json.dumps(payload, indent=indent).replace("\n", "\r\n").encode()
    expected = json.dumps(payload, separators=(",", ":")).encode()
    assert compact_payload(b" \r\n" + text + b"\t\n") == expected


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"1", b'"{}"', b"{", b"{} {}", b"{'a':1}", b'{"a":NaN}', b'{"a":"\x01"}',
     b'{"a":"\xff"}', b'{"\xed\xa0\x80":1}', b'{"a":"\\ud800"}', b"\xef\xbb\xbf{}", b"{" * 100_000],
)  # fmt: skip
def test_what_is_no_payload(text: bytes) -> None:
    with pytest.raises(InvalidEvent):
        compact_payload(text)


# Labels


@pytest.mark.parametrize(
    ("payload", "labels"),
    [
        ("{}", Labels("")),
        ('{"type":"Placed"}', Labels("Placed")),
        ('{"type":"Pl\\u0061ced","tags":["a","\\u00e4"]}', Labels("Placed", ("a", "ä"))),
        ('{"type":null,"tags":null}', Labels("")),
        ('{"type":1,"tags":"a"}', Labels("", ("a",))),
        ('{"type":["x"],"tags":["a",1,null,["b"],"c"]}', Labels("", ("a", "c"))),
        ('{"type":{"type":"x"},"tags":{"a":"b"}}', Labels("")),
        ('{"tags":[],"type":""}', Labels("")),
        ('{"type":1e999,"tags":[1e999,"a"]}', Labels("", ("a",))),
        (f'{{"type":"t","tags":{"9" * 5000}}}', Labels("t")),
        (f'{{"type":{"9" * 5000},"tags":[ "a" , {"9" * 5000} ]}}', Labels("", ("a",))),
        ('{"a":{"type":"x","tags":["a"]}}', Labels("")),
        ('{"type":"a","type":"b"}', Labels("b")),
        ('{"type":1,"type":"b","tags":["x",1],"tags":["y"]}', Labels("b", ("y",))),
    ],
)
def test_labels(payload: str, labels: Labels) -> None:
    document = f'{{"stream":"abcd","payload":{payload},"metadata":{{"id":"1"}}}}'.encode()
    assert payload_labels_reader(KEYS)(payload.encode()) == labels
    assert labels_reader(KEYS)(document) == labels
    assert type_of(document) == labels.type.encode()
    assert row_of(document)[1] == labels.type.encode()
    other = payload.replace('"type"', '"kind"').replace('"tags"', '"labels"')
    assert payload_labels_reader(OTHER)(other.encode()) == labels
    assert labels_reader(OTHER)(document.replace(payload.encode(), other.encode())) == labels
    assert payload_labels_reader(KEYS)(other.encode()) == Labels("")


@pytest.mark.parametrize("text", [b"", b"[]", b'{"payload":1}', b'{"payload":{"type":}}', b'"x"'])
def test_what_has_no_labels(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        labels_reader(KEYS)(text)
    with pytest.raises(msgspec.DecodeError):
        type_of(text)
    if not text.startswith(b"{"):
        with pytest.raises(msgspec.DecodeError):
            payload_labels_reader(KEYS)(text)


# Documents as rows


@given(payloads, examples.ids.filter(bool), st.data())
def test_a_document_in_any_spelling_is_the_same_row(
    payload: dict[str, Any], identity: str, data: st.DataObject
) -> None:
    document = {
        "stream": "abcd",
        "payload": payload,
        "metadata": {"id": identity, "user": payload, "commitSize": 1},
        "more": {"metadata": {"id": "no"}, "payload": {"type": "no"}},
    }
    line = data.draw(spellings(document))
    kind = payload.get("type")
    if not isinstance(kind, str) or any(each in kind for each in "\t\n\r\0"):
        kind = ""
    row = row_of(line)
    assert row[:2] == [identity.encode(), kind.encode()]
    assert json.loads(row[2]) == payload
    assert row[2] == msgspec.json.format(row[2], indent=-1)
    assert not any(each in row[2] for each in b"\n\r\0\x0b")
    assert id_of(line) == identity.encode()
    assert metadata_of(line) == Metadata(identity)
    assert type_of(line) == kind.encode()


def test_a_payload_made_by_hand_becomes_compact() -> None:
    line = b'{ "payload" : {\t"a" :\r[ 1.10 , "b c" ] } , "metadata" : {"id" : "1"} }\n'
    assert row_of(line) == [b"1", b"", b'{"a":[1.10,"b c"]}']


@pytest.mark.parametrize("kind", ["a\\tb", "\\n", "\\r", "a\\u0000"])
def test_a_type_that_no_field_holds_counts_as_none(kind: str) -> None:
    line = b'{"stream":"abcd","payload":{"type":"%b"},"metadata":{"id":"1"}}' % kind.encode()
    assert row_of(line) == [b"1", b"", b'{"type":"%b"}' % kind.encode()]
    assert type_of(line) == b""


def test_a_row_has_the_type_of_the_key_that_is_set() -> None:
    line = b'{"payload":{"type":"a","kind":"b"},"metadata":{"id":"1"}}'
    assert (row_of(line)[1], row_of(line, OTHER)[1]) == (b"a", b"b")
    assert (type_of(line), type_of(line, OTHER)) == (b"a", b"b")
