"""What a client sends to commit."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import commit
from hub.commit import ENVELOPE, Commit, parse_commit
from hub.document import KEYS, NESTING, OWN_METADATA, Keys, payload_labels_reader
from hub.errors import HubError, InvalidEvent, InvalidRequest, TooLarge
from hub.event import Limits
from tests import documents

MOST = 1_000_000


def parse(body: bytes | str | dict[str, Any], keys: Keys = KEYS, most: int = MOST) -> Commit:
    if isinstance(body, dict):
        body = json.dumps(body)
    return parse_commit(
        body.encode() if isinstance(body, str) else body, keys, Limits(1000, 10, 20), most
    )


def refusal(body: bytes | str | dict[str, Any]) -> HubError:
    with pytest.raises(HubError) as told:
        parse(body)
    return told.value


def test_the_whole_of_it() -> None:
    commit = parse(
        ' {"events": [ {"type": "A", "tags": ["x", "y"], "n": [1, 2]},\n{"type":"B"} ],'
        '"expectedVersion": 3, "metadata": {"by": "me", "n": 1.10},'
        '"condition": {"types": ["A"], "noneMatchAfter": 7}} '
    )
    draft = commit.draft
    assert draft.payloads == [b'{"type":"A","tags":["x","y"],"n":[1,2]}', b'{"type":"B"}']
    assert draft.types == ["A", "B"]
    assert [payload_labels_reader(KEYS)(each).tags for each in draft.payloads] == [("x", "y"), ()]
    assert draft.metadata == b',"by":"me","n":1.10'
    assert commit.expected == 3
    assert commit.condition is not None
    assert commit.condition.none_match_after == 7
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", draft.commit_id
    )
    assert parse('{"events":[{}]}').draft.commit_id != draft.commit_id


def test_the_least() -> None:
    commit = parse('{"events":[{}]}')
    assert (commit.draft.payloads, commit.draft.types) == ([b"{}"], [""])
    assert (commit.expected, commit.condition, commit.draft.metadata) == (None, None, b"")
    for empty in ("{}", "null"):
        assert parse(f'{{"events":[{{}}],"metadata":{empty}}}').draft.metadata == b""
    commit = parse('{"events":[{}],"expectedVersion":null,"condition":null}')
    assert (commit.expected, commit.condition) == (None, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0), (7, 7), (2**70, 2**70), (-1, None), ("any", None), ("Any", None), ("empty", 0),
        ("emptyStream", 0), ("emptystream", 0), (" any ", None), ("5", 5), ("0", 0), ("-1", None),
    ],
)  # fmt: skip
def test_expected_versions(value: object, expected: int | None) -> None:
    assert parse({"events": [{}], "expectedVersion": value}).expected == expected


@pytest.mark.parametrize(
    "value", [-2, 1.0, 1.5, -1.0, True, False, "", "none", "1.0", "-2", "٣", [], {}, [1], "9" * 19]
)
def test_versions_that_are_none(value: object) -> None:
    error = refusal({"events": [{}], "expectedVersion": value})
    assert type(error) is InvalidRequest
    assert "expectedVersion is" in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"[]", b'"x"', b"null", b"7", b"{}", b'{"events":[]}', b'{"events":null}',
        b'{"events":{}}', b'{"events":"x"}', b'{"events":[{}],"more":1}', b'{"Events":[{}]}',
        b'{"events":[{}]}x', b'{"events":[{}]}{"events":[{}]}', b'{"events":[{},]}',
        b"{'events':[{}]}", b'\xef\xbb\xbf{"events":[{}]}', b'{"events":[{"a":"\xff"}]}',
        b'{"events":[{"a":"\xed\xa0\x80"}]}', b'{"events":[{"a":NaN}]}', b'{"events":[{"a":01}]}',
        b'{"events":[{"a":"\x00"}]}', b'{"events":[{"a":"\n"}]}', b'{"events":[{"a":"\t"}]}',
        b'{"events":[{"a":"\x0b"}]}', b'{"events":[{"a\x01":1}]}', b'{"events":[{"a":"\\x"}]}',
        b'{"events":[{"a":"\\ud800"}]}', b'{"events":[{"type":"\\ud800 is half a pair"}]}',
        b'{"events":[{"a":"\\udc00\\ud800"}]}', b'{"events":[{}],"expected_version":1}',
        b"[" * 100_000, b'{"events":[' + b'{"a":' * 100_000,
        b'{"events":[{}],"expectedVersion":' + b"9" * 5000 + b"}",
        b'{"events":[{}],"condition":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"events":[{}],"condition":{"types":["A"],"noneMatchAfter":1e999}}',
    ],
)  # fmt: skip
def test_what_is_no_commit(body: bytes) -> None:
    error = refusal(body)
    assert type(error) is InvalidRequest
    assert '{"events": [{"type": "OrderPlaced"}], "expectedVersion": 3} is right' in str(error)


@pytest.mark.parametrize("event", ["1", '"x"', "[]", "null", "true", "[{}]", "1e999"])
def test_events_are_objects(event: str) -> None:
    error = refusal(f'{{"events":[{{}},{event}]}}')
    assert isinstance(error, InvalidEvent)
    assert "event 2: it is not a JSON object" in str(error)


@pytest.mark.parametrize("condition", ["", "x", "[]", "{}", 5, True, [], {}, {"types": ["A"]}])
def test_bad_conditions(condition: object) -> None:
    assert type(refusal({"events": [{}], "condition": condition})) is InvalidRequest


def test_a_condition_as_text() -> None:
    text = '{"selector":["A"],"noneMatchAfter":0}'
    as_text = parse({"events": [{}], "condition": text}).condition
    assert as_text is not None
    assert as_text == parse(f'{{"events":[{{}}],"condition":{text}}}').condition


# Payloads


@pytest.mark.parametrize("number", documents.NUMBERS)
def test_numbers_keep_their_digits(number: str) -> None:
    limits = Limits()
    body = f'{{"events":[{{"n": {number}}}],"metadata":{{"n": {number}}}}}'.encode()
    draft = parse_commit(body, KEYS, limits, MOST).draft
    assert draft.payloads == [f'{{"n":{number}}}'.encode()]
    assert draft.metadata == f',"n":{number}'.encode()


def test_keys_stand_as_they_were_sent() -> None:
    payload = '{"type":"A","a":1,"type":"B","a":2,"":{},"\\u0061":3}'
    draft = parse(f'{{"events":[{payload}]}}').draft
    assert draft.payloads == [payload.encode()]
    assert draft.types == ["B"]  # the last, as every reader of JSON has it


@pytest.mark.parametrize("kind", ["1", "null", "true", '["A"]', "{}", "1e999"])
def test_types_and_tags_that_are_none(kind: str) -> None:
    draft = parse(f'{{"events":[{{"type":{kind},"tags":{kind}}}]}}').draft
    assert draft.types == [""]
    labels = payload_labels_reader(KEYS)(draft.payloads[0])
    assert labels.tags == (("A",) if kind == '["A"]' else ())


def test_the_keys_are_options() -> None:
    body = '{"events":[{"type":"A","tags":["x"],"kind":"B","labels":["y"]}]}'
    keys = Keys("kind", "labels")
    draft = parse(body, keys).draft
    assert draft.types == ["B"]
    assert payload_labels_reader(keys)(draft.payloads[0]).tags == ("y",)


@pytest.mark.parametrize("kind", ["a\nb", "a\rb", "a\tb", "a\0b", "\n", "a" * 21, "ä" * 11])
def test_types_that_no_event_can_have(kind: str) -> None:
    error = refusal({"events": [{}, {}, {"type": kind}]})
    assert isinstance(error, InvalidEvent)
    assert str(error).startswith("event 3: the event type")
    parse({"events": [{"type": "ä" * 10, "other": kind}]})


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_nesting(opening: str, closing: str) -> None:
    inner = opening * (NESTING - 1) + "1" + closing * (NESTING - 1)
    limits = Limits()
    good, bad = f'{{"a":{inner}}}', f'{{"a":{opening}{inner}{closing}}}'
    parse_commit(f'{{"events":[{good}],"metadata":{good}}}'.encode(), KEYS, limits, MOST)
    with pytest.raises(InvalidEvent, match=r"event 2: .*nested deeper"):
        parse_commit(f'{{"events":[{{}},{bad}]}}'.encode(), KEYS, limits, MOST)
    with pytest.raises(InvalidRequest, match=r"metadata: .*nested deeper"):
        parse_commit(f'{{"events":[{{}}],"metadata":{bad}}}'.encode(), KEYS, limits, MOST)


# Metadata


@pytest.mark.parametrize("metadata", ["1", '"x"', "[]", "true"])
def test_metadata_is_an_object(metadata: str) -> None:
    error = refusal(f'{{"events":[{{}}],"metadata":{metadata}}}')
    assert type(error) is InvalidRequest
    assert "metadata" in str(error)


@pytest.mark.parametrize("key", sorted(OWN_METADATA))
def test_metadata_that_the_hub_sets(key: str) -> None:
    escaped = "".join(f"\\u{ord(each):04x}" for each in key)
    for spelling in (key, escaped):
        error = refusal(f'{{"events":[{{}}],"metadata":{{"a":1,"{spelling}":1}}}}')
        assert type(error) is InvalidRequest
        assert f"'{key}'" in str(error)
    parse({"events": [{}], "metadata": {"a": {key: 1}, key.upper(): 1}})


# Limits


def test_the_size_of_an_event() -> None:
    good = '{"a": "%s"}' % ("x" * (1000 - len('{"a":""}')))
    parse(f'{{"events":[{good}]}}')
    assert isinstance(refusal(f'{{"events":[{good.replace("xx", "xxx", 1)}]}}'), TooLarge)


def test_the_size_of_metadata() -> None:
    assert isinstance(refusal({"events": [{}], "metadata": {"a": "x" * 1000}}), TooLarge)


def test_many_small_events_must_not_become_large() -> None:
    """What is stored of a commit is not much more than what may be sent."""
    most = 100_000
    for metadata in ({}, {"a": "x" * 900}):
        size = ENVELOPE + (len(json.dumps(metadata)) if metadata else 0)
        fit = most // (size + 4)
        parse({"events": [{}] * fit, "metadata": metadata}, most=most)
        with pytest.raises(TooLarge, match="100000"):
            parse({"events": [{}] * (fit * 11 // 10), "metadata": metadata}, most=most)


@pytest.mark.parametrize("event", ["{}", "1", '{"a":[1,"}],{\\"",{}]}', "[]", '" \\" "', "null"])
@pytest.mark.parametrize("before", ["", '"metadata":{"a":[1,2]},'])
def test_too_many_events_are_counted_before_they_are_decoded(
    event: str, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 100 * ENVELOPE
    monkeypatch.setattr(commit, "MEMBERS", 0)
    body = '{%s "events" : [%s]}'
    many = (body % (before, ", ".join([event] * 102))).encode()
    for check in (commit._check_count, lambda body, most: parse(body, most=most)):
        with pytest.raises(TooLarge, match="102 events or more"):
            check(many, most)
    few = (body % (before, ", ".join([event] * 101))).encode()
    commit._check_count(few, most)
    # What is in one event does not count, however much it is.
    large = ",".join(["[1,{},{}]"] * 300)
    commit._check_count((body % (before, f'{{"a":[{large}]}}')).encode(), most)


def test_a_body_of_nothing_but_events_costs_no_decoding() -> None:
    """Of 8 MiB, some 30,000 events are looked at."""
    body = b'{"events":[' + b"{}," * (8 * 1024 * 1024 // 3) + b"{}]}"
    began = time.process_time()
    with pytest.raises(TooLarge):
        parse_commit(body, KEYS, Limits(), len(body))
    counted = time.process_time() - began
    began = time.process_time()
    commit._decode_body(body)
    assert counted < (time.process_time() - began) / 2


def test_one_event_may_be_as_large_as_a_request() -> None:
    body = '{"events":[{"a":"x"}]}'
    parse(body, most=len(body))


@given(st.lists(documents.payloads, min_size=1, max_size=5), documents.payloads)
def test_whatever_is_an_object_is_kept(events: list[dict[str, Any]], metadata: object) -> None:
    body = {"events": events, "metadata": {"user": metadata}}
    for ascii_only in (True, False):
        text = json.dumps(body, ensure_ascii=ascii_only, indent=1)
        try:
            draft = parse_commit(text.encode(), KEYS, Limits(), MOST).draft
        except InvalidEvent:  # a type with a line break
            assert any(set("\n\r\t\0") & set(str(event.get("type"))) for event in events)
            continue
        assert [json.loads(each) for each in draft.payloads] == events
        assert json.loads(b"{" + draft.metadata[1:] + b"}") == {"user": metadata}
        assert not any(b"\n" in each for each in draft.payloads)


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_garbage_is_refused(body: bytes) -> None:
    for each in (body, b'{"events":[' + body + b"]}", b'{"events":[{}],"metadata":' + body + b"}"):
        try:
            parse(each)
        except (InvalidRequest, InvalidEvent, TooLarge):
            pass
        else:
            json.loads(each)
