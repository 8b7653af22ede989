"""The options: one place, frozen, each explained."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

import hub
from hub.event import Limits
from hub.options import Durability, Options

FIELDS = dataclasses.fields(Options)


def test_the_defaults_of_the_design() -> None:
    options = Options()
    assert (options.host, options.port, options.events) == ("127.0.0.1", 9000, Path("events"))
    assert options.durability is Durability.ALWAYS
    assert options.sync_interval == 0.1
    assert options.cors == ()
    assert options.max_event_bytes == 2**20
    assert options.max_request_bytes == 64 * 2**20
    assert (options.max_id_bytes, options.max_type_bytes) == (256, 256)
    assert options.max_subscriptions == 10_000
    assert (options.heartbeat, options.retry) == (15.0, 2000)
    assert options.limits == Limits()


def test_the_limits_of_an_event() -> None:
    options = Options(max_event_bytes=1, max_id_bytes=2, max_type_bytes=3)
    assert options.limits == Limits(event_bytes=1, id_bytes=2, type_bytes=3)


def test_options_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_option_is_explained(field: dataclasses.Field[object]) -> None:
    text = field.metadata["help"]
    assert text.endswith(".")
    assert len(text) > 20


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_option_is_used(field: dataclasses.Field[object]) -> None:
    used = {
        node.attr
        for path in Path(hub.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert field.name in used
