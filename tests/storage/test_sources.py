"""Whether a document is in a scope: told from itself, as a plain test tells it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.storage.plan import Scope
from hub.storage.sources import seer
from tests.storage.scopes import Test, groups, make_world, scopes


@given(groups, st.lists(scopes(), min_size=1, max_size=5))
@settings(max_examples=50)
def test_an_event_tells_by_itself_whether_it_is_meant(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[tuple[str, list[dict[str, Any]]]],
    meant: list[tuple[Scope, Test]],
) -> None:
    world = make_world(tmp_path_factory.mktemp("world"))
    world.add(wanted)
    for scope, test in meant:
        sees = seer(scope, world.sources)
        for event in world.events:
            assert sees(event.stream, event.document) is test(event)
    world.close()
