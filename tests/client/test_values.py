"""Values."""

from __future__ import annotations

import msgspec
import pytest

from hub.client import Document, Event, InvalidEvent, Published


class Order(msgspec.Struct):
    item: str


def test_an_events_data_as_json() -> None:
    event = Event("1", "placed", '{"item": "tea", "n": 123456789012345678901}')
    assert event.json() == {"item": "tea", "n": 123456789012345678901}
    assert event.json(Order) == Order("tea")
    with pytest.raises(InvalidEvent):
        Event("1", "note", "text").json()


def test_sums_of_what_was_published() -> None:
    one, two = Published(2, "a", "b"), Published(1, "c", "c")
    assert one.plus(two) == Published(3, "a", "c")
    assert Published().plus(two) == two
    assert one.plus(Published()) == one


def test_a_document_by_hand_may_lack_what_others_have() -> None:
    whole = Document("s", {"type": "T"}, {"id": "1", "streamVersion": 4})
    assert (whole.id, whole.type, whole.revision) == ("1", "T", 5)
    bare = Document("s", {"type": 7}, {"id": "1"})
    assert (bare.type, bare.revision) == ("", None)
