"""Matchers as the others use them: asked about events and documents, and about themselves."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidRequest
from hub.matcher import Matcher, compile_matcher, parse_matcher
from hub.matcher.compiled import REMEMBERED, REMEMBERED_BYTES, _remembered
from hub.matcher.rules import MATCHER_BYTES, MATCHER_DEPTH
from tests.matcher import naive

events = st.tuples(naive.names, naive.objects, naive.objects)


def document(stream: Any, payload: Any, metadata: Any) -> bytes:
    return msgspec.json.encode({"stream": stream, "payload": payload, "metadata": metadata})


@given(naive.matchers, st.lists(events, max_size=5))
def test_it_is_as_written(spec: Any, some: list[tuple[str, Any, Any]]) -> None:
    matcher = compile_matcher(spec)
    for stream, payload, metadata in some:
        event = {"stream": stream, "payload": payload, "metadata": metadata}
        expected = naive.holds(spec, event)
        assert matcher.matches(stream, payload, metadata) == expected
        assert matcher.matches_document(msgspec.json.encode(event)) == expected
        spaced = json.dumps(dict(reversed(event.items())), indent=1, ensure_ascii=True).encode()
        assert matcher.matches_document(spaced) == expected


@pytest.mark.parametrize("fields", ["stream", "payload", "metadata", "stream payload metadata"])
def test_every_part_that_is_given_must_hold_and_no_other(fields: str) -> None:
    right: dict[str, Any] = {"stream": "s", "payload": {"a": 1}, "metadata": {"b": 2}}
    wrong = {"stream": "t", "payload": {"a": 2}, "metadata": {"b": 1}}
    matcher = compile_matcher({field: right[field] for field in fields.split()})
    assert matcher.matches("s", {"a": 1}, {"b": 2})
    for field in right:
        event = {**right, field: wrong[field]}
        expected = field not in fields.split()
        assert matcher.matches(event["stream"], event["payload"], event["metadata"]) == expected
        line = msgspec.json.encode(event)
        assert matcher.matches_document(line) == expected
        slow = line.replace(b'{"b":', b'{"x":"\\ud800","b":').replace(
            b'{"a":', b'{"\\ud800":1,"a":'
        )
        assert matcher.matches_document(slow) == expected


@given(naive.matchers, st.lists(events, max_size=5))
def test_the_text_is_the_matcher(spec: Any, some: list[tuple[str, Any, Any]]) -> None:
    matcher = compile_matcher(spec)
    again = parse_matcher(matcher.text)
    assert again.text == matcher.text
    assert again == matcher
    assert hash(again) == hash(matcher)
    assert matcher.text.isascii()
    assert [again.matches(*event) for event in some] == [matcher.matches(*event) for event in some]
    shuffled = parse_matcher(json.dumps(_turned(spec), indent=2))
    assert shuffled.text == matcher.text


def _turned(spec: Any) -> Any:
    """The same, with its keys the other way round."""
    if isinstance(spec, dict):
        return {key: _turned(spec[key]) for key in reversed(spec)}
    return [_turned(each) for each in spec] if isinstance(spec, list) else spec


@given(naive.matchers, st.lists(events, max_size=8))
def test_nothing_matches_outside_of_what_it_says_of_itself(spec: Any, some: list[Any]) -> None:
    matcher = compile_matcher(spec)
    kinds = {key: matcher.types(key) for key in ("type", "a", "é")}
    for stream, payload, metadata in some:
        if matcher.matches(stream, payload, metadata):
            assert matcher.streams is None or stream in matcher.streams
            for key, kind in kinds.items():
                assert kind is None or payload[key] in kind
        if matcher.stream_name is not None:
            assert matcher.matches(stream, payload, metadata) == (stream == matcher.stream_name)


@pytest.mark.parametrize(
    ("spec", "name", "streams"),
    [
        ({}, None, None),
        ({"stream": "a"}, "a", {"a"}),
        ({"stream": ["a"]}, "a", {"a"}),
        ({"stream": {"$eq": "a"}}, "a", {"a"}),
        ({"stream": "a", "payload": {}, "metadata": {}}, "a", {"a"}),
        ({"stream": "a", "payload": {"b": 1}}, None, {"a"}),
        ({"stream": "a", "metadata": {"b": 1}}, None, {"a"}),
        ({"stream": ["a", "b"]}, None, {"a", "b"}),
        ({"stream": ["a", {"$eq": "b"}]}, None, {"a", "b"}),
        ({"stream": ["a", {"$gt": "b"}]}, None, None),
        ({"stream": {"$eq": "a", "$ne": "b"}}, None, {"a"}),
        ({"stream": {"$ne": "a"}}, None, None),
        ({"payload": {"stream": "a"}}, None, None),
    ],
)
def test_streams(spec: object, name: str | None, streams: set[str] | None) -> None:
    matcher = compile_matcher(spec)
    assert matcher.stream_name == name
    assert matcher.streams == streams
    assert streams is None or isinstance(matcher.streams, frozenset)


@pytest.mark.parametrize(
    ("payload", "types"),
    [
        (None, None),
        ({}, None),
        ({"b": "A"}, None),
        ({"t": "A"}, {"A"}),
        ({"t": "A", "b": 1}, {"A"}),
        ({"t": ["A", "B"]}, {"A", "B"}),
        ({"t": {"$eq": "A"}}, {"A"}),
        ({"t": {"$eq": "A", "$gt": "B"}}, {"A"}),
        ({"t": ["A", {"$eq": "B", "$ne": "C"}]}, {"A", "B"}),
        ({"t": ["A", 1]}, None),
        ({"t": ["A", None]}, None),
        ({"t": 1}, None),
        ({"t": None}, None),
        ({"t": {"$gt": "A"}}, None),
        ({"t": {"$ne": "A"}}, None),
        ({"t": {"$eq": ["A"]}}, None),
        ({"t": {"$has": "A"}}, None),
        ({"t": {"b": "A"}}, None),
        ({"b": {"t": "A"}}, None),
        ([{"t": "A"}, {"t": "B", "b": 1}], {"A", "B"}),
        ([{"t": "A"}, {"b": 1}], None),
        ([{"t": "A"}, {}], None),
        ({"$eq": {"t": "A"}}, {"A"}),
        ({"$eq": {"t": ["A"]}}, None),
        ({"$eq": {"t": {"$eq": "A"}}}, None),
        ({"$eq": {}}, None),
        ({"$ne": {"t": "A"}}, None),
        ([{"t": "A"}, {"$eq": {"t": "B"}}], {"A", "B"}),
        ([{"t": "A"}, {"$ne": {"t": "B"}}], None),
    ],
)
def test_types(payload: object, types: set[str] | None) -> None:
    matcher = compile_matcher({} if payload is None else {"payload": payload})
    assert matcher.types("t") == types
    assert types is None or isinstance(matcher.types("t"), frozenset)
    assert matcher.types("other") is None


def test_equality() -> None:
    one, same = compile_matcher({"stream": "a"}), compile_matcher({"stream": ["a"]})
    assert one == same
    assert {one, same} == {one}
    assert one != compile_matcher({"stream": "b"})
    assert one != '{"stream":"a"}'
    assert repr(one) == 'Matcher({"stream":"a"})'


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"payload": {"a": {"$gt": 5}}}, b'{"a":1e999}'),
        ({"payload": {"a": {"$lt": 5}}}, b'{"a":-1e999}'),
        ({"payload": {"a": [{"$has": 0.1}]}}, b'{"a":[1e999,0.1]}'),
        ({"payload": {"a": {"$gt": 10**4000}}}, b'{"a":1%b}' % (b"0" * 5000)),
        ({"payload": {"a": {"$has": 1}}}, b'{"a":[1e999,1]}'),
        ({"payload": {"a": {"$has": 1.0}}}, b'{"a":["\\ud800",1]}'),
        ({"payload": {"a": {"$ne": "x"}}}, b'{"a":"\\ud800"}'),
        ({"payload": {"a": 1}}, b'{"b":"\\ud800","a":1,"c":1e999}'),
        ({"payload": {"a": 1}}, b'{"\\ud800":1,"a":1}'),
        ({"payload": {"a": 1}}, b'{"a":2,"a":1}'),
        ({"payload": {"a": {"$ne": 1}}}, b'{"a":%b}' % (b"[" * 900 + b"]" * 900)),
        ({"payload": {"a": 1}}, b'{"b":%b,"a":1}' % (b"[" * 900 + b"]" * 900)),
        ({"payload": {"$ne": {}}}, b'{"a":1e999}'),
    ],
)
def test_documents_that_are_hard_to_read(spec: dict[str, object], text: bytes) -> None:
    line = b'{"stream":"s","payload":%b,"metadata":{}}' % text
    assert compile_matcher(spec).matches_document(line)
    assert not compile_matcher({**spec, "stream": "t"}).matches_document(line)
    assert compile_matcher({**spec, "stream": "s"}).matches_document(line)
    assert not compile_matcher({**spec, "metadata": {"x": {"$ne": 1}}}).matches_document(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b"\xff",
        b'{"stream":"a"}',
        b'{"stream":"a","payload":{"b":1}',
        b'{"stream":"a","payload":[],"metadata":{}}',
        b'{"stream":"a","payload":null,"metadata":1}',
        b'{"stream":"a","payload":"\xff"}',
        b'{"payload":' + b"[" * 100_000,
    ],
)
def test_what_is_no_document_matches_nothing(line: bytes) -> None:
    for spec in (
        {"payload": {"b": 1}},
        {"payload": {"b": {"$ne": 2}}},
        {"metadata": {"b": [1, {"$ne": 1}]}},
        {"stream": "a", "payload": {"b": {}}},
    ):
        assert not compile_matcher(spec).matches_document(line)


def test_deep_documents_are_told_apart_wherever_the_caller_stands() -> None:
    deep: Any = {}
    for _ in range(MATCHER_DEPTH - 4):
        deep = {"x": deep}
    line = b'{"payload":{"b":%b,"a":1}}' % (b'{"x":' * 900 + b"1" + b"}" * 900)
    matcher = compile_matcher({"payload": {"a": 1, "b": deep}})
    assert not compile_matcher({"payload": {"b": {"$eq": deep}}}).matches_document(line)

    def ask_at(depth: int) -> bool:
        return ask_at(depth - 1) if depth else matcher.matches_document(line)

    assert ask_at(0)
    assert ask_at(sys.getrecursionlimit() - 400)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("{'stream':'a'}", "not JSON"),
        ('{"stream":"a"} x', "not JSON"),
        ('{"payload":{"a":NaN}}', "not JSON"),
        ('{"payload":{"a":Infinity}}', "not JSON"),
        ('{"payload":{"a":1e999}}', "not JSON: Number out of range"),
        ('{"payload":{"a":"\\ud800"}}', "not JSON"),
        (b'{"payload":{"a":"\xff"}}', "not JSON"),
        ("\ud800", "not JSON"),
        ('{"payload":{"a":%s}}' % ("1" * 4301), "not JSON: Integer value out of range"),
        ('"stream"', "not a string"),
        ("[" * 10_000, "nested deeper than 32 levels|not JSON"),
        ("[" * 10_000 + "]" * 10_000, "nested deeper than 32 levels"),
        ('{"payload":' + '{"a":' * 5000 + "1" + "}" * 5001, "nested deeper than 32 levels"),
        (" " * MATCHER_BYTES + "{}", f"more than {MATCHER_BYTES} bytes"),
    ],
)
def test_text_that_is_no_matcher_is_refused(text: str | bytes, message: str) -> None:
    for _ in range(2):  # refusals are not remembered
        with pytest.raises(InvalidRequest, match=message) as caught:
            parse_matcher(text)
        str(caught.value).encode()


def test_text_has_its_limit() -> None:
    assert parse_matcher("{}".ljust(MATCHER_BYTES)).text == "{}"
    with pytest.raises(InvalidRequest, match=f"more than {MATCHER_BYTES} bytes"):
        parse_matcher("{}".ljust(MATCHER_BYTES + 1))


def test_text_and_bytes_are_one() -> None:
    assert parse_matcher('{"stream":"é"}') == parse_matcher('{"stream":"é"}'.encode())
    big = parse_matcher(f'{{"payload":{{"a":{2**70 + 1}}}}}')
    assert big.matches_document(b'{"payload":{"a":%d}}' % (2**70 + 1))
    assert not big.matches_document(b'{"payload":{"a":%d}}' % 2**70)


def test_what_is_remembered_is_bounded() -> None:
    _remembered.cache_clear()
    text = '{"stream":"a"}'
    assert parse_matcher(text) is parse_matcher(text)
    at_most = '{"stream":"%s"}' % ("a" * (REMEMBERED_BYTES - len('{"stream":""}')))
    assert parse_matcher(at_most) is parse_matcher(at_most)
    assert _remembered.cache_info().currsize == 2
    longer = at_most + " "
    assert parse_matcher(longer) == parse_matcher(longer)
    assert parse_matcher(longer) is not parse_matcher(longer)
    assert _remembered.cache_info().currsize == 2
    for number in range(REMEMBERED + 10):
        parse_matcher(f'{{"stream":"s{number}"}}')
    assert _remembered.cache_info().currsize == REMEMBERED


def test_a_matcher_keeps_what_it_was_made_of() -> None:
    spec: dict[str, Any] = {"payload": {"a": {"$eq": [1]}}}
    matcher = compile_matcher(spec)
    spec["payload"]["a"]["$eq"].append(2)
    assert matcher.matches("s", {"a": [1]}, {})
    assert isinstance(matcher, Matcher)
