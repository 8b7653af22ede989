"""Reducers without a hub: which language, what an event is, and how failures read."""

from __future__ import annotations

import pytest

from hub.cli.reducers import BATCH, JS, PYTHON, Wrong, language_of, make_reducer


@pytest.mark.parametrize(
    ("expression", "language"),
    [
        ("(s, e) => s", JS),
        ("s => s", JS),
        ("function (s, e) { return s }", JS),
        ("state + 1", PYTHON),
        ("lambda s, e: s", PYTHON),
        ("lambda s, e: '=>'", PYTHON),
        ("state + ' => '", PYTHON),
        ("functional(state)", PYTHON),
    ],
)
def test_the_language_is_seen(expression: str, language: str) -> None:
    assert language_of(expression) == language


@pytest.mark.parametrize("language", [JS, PYTHON])
def test_many_batches(language: str) -> None:
    expression = "(n) => n + 1" if language == JS else "state + 1"
    reducer = make_reducer(expression, language, "0", documents=False)
    reducer.fold([b"id\ttype\tdata"] * (2 * BATCH + 1))
    reducer.fold([])
    assert reducer.state() == b"%d" % (2 * BATCH + 1)


def test_an_event_in_javascript() -> None:
    seen = "(s, e) => [e.id, e.type, e.data, e.json ?? null, e.time ?? null]"
    reducer = make_reducer(seen, JS, "{}", documents=False)
    reducer.fold([b'1970-01-01T00:00:01Z\tT\t{"a":1}'])
    assert reducer.state() == b'["1970-01-01T00:00:01Z","T","{\\"a\\":1}",{"a":1},1000]'
    reducer = make_reducer("(s, e) => e.data + (e.json === undefined)", JS, "{}", documents=False)
    reducer.fold([b"x\t\ttwo\x0blines"])
    assert reducer.state() == b'"two\\nlinestrue"'


def test_the_event_that_failed_is_named_in_a_later_batch() -> None:
    reducer = make_reducer("(s, e) => e.json.x", JS, "{}", documents=False)
    rows = [b'%d\t\t{"x":1}' % number for number in range(BATCH + 5)] + [b"bad-one\t\tnull"]
    with pytest.raises(Wrong, match="at event bad-one: TypeError"):
        reducer.fold(rows)
