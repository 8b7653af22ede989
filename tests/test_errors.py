"""The tree of errors, as it is drawn and as it is."""

from __future__ import annotations

import inspect

import hub.errors
from hub.errors import HubError, InvalidEvent


def classes() -> list[type[HubError]]:
    return [
        each
        for each in vars(hub.errors).values()
        if inspect.isclass(each) and issubclass(each, HubError)
    ]


def drawn() -> dict[str, str | None]:
    """Each class in the module's drawing, with its parent."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in (hub.errors.__doc__ or "").split("\n"):
        words = line.strip(" │├└─").split()
        if not words or not (line.strip() == "HubError" or "── " in line):
            continue
        depth = line.index(words[0])
        while path and path[-1][0] >= depth:
            path.pop()
        parents[words[0]] = path[-1][1] if path else None
        path.append((depth, words[0]))
    return parents


def test_the_tree_is_as_drawn() -> None:
    actual = {each.__name__: each.__base__.__name__ for each in classes() if each.__base__}
    assert {name: parent or "Exception" for name, parent in drawn().items()} == actual
    assert len(actual) > 10


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [vars(each).get("code") for each in classes()]
    assert None not in codes
    assert len(set(codes)) == len(codes)


def test_an_event_of_a_batch_is_named_by_its_line() -> None:
    assert str(InvalidEvent("it is bad")) == "it is bad"
    error = InvalidEvent("it is bad", 7)
    assert str(error) == "line 7: it is bad"
    assert (error.reason, error.line) == ("it is bad", 7)
