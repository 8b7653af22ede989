"""The tree of a selector: its simplest form, its text, and the test that is made of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.selector import EVERYTHING, AllOf, AnyOf, Everything, Kind, Node, Term, parse_selector
from hub.selector.tree import Selector, all_of, any_of
from tests.selector import naive

A, B, C = (Term(Kind.NAME, name) for name in "abc")


@pytest.mark.parametrize(
    ("given", "simple"),
    [
        (any_of([A]), A),
        (all_of([A]), A),
        (any_of([B, A, B]), AnyOf((A, B))),
        (all_of([B, A, B]), AllOf((A, B))),
        (any_of([A, any_of([C, B])]), AnyOf((A, B, C))),
        (all_of([A, all_of([C, B])]), AllOf((A, B, C))),
        (any_of([A, all_of([C, B])]), AnyOf((AllOf((B, C)), A))),
        (any_of([A, EVERYTHING]), EVERYTHING),
        (all_of([A, EVERYTHING]), A),
        (all_of([EVERYTHING, EVERYTHING]), EVERYTHING),
        (any_of([EVERYTHING]), EVERYTHING),
        (all_of([B, EVERYTHING, A]), AllOf((A, B))),
        (any_of([all_of([A]), A]), A),
    ],
)
def test_the_tree_is_in_its_simplest_form(given: Node, simple: Node) -> None:
    assert given == simple


@pytest.mark.parametrize(
    ("root", "text"),
    [
        (A, '{"name":"a"}'),
        (Term(Kind.TYPE, "a"), '{"type":"a"}'),
        (Term(Kind.TAG, "é"), '{"tag":"\\u00e9"}'),
        (EVERYTHING, '"_all"'),
        (Term(Kind.TYPE, "_all"), '{"type":"_all"}'),
        (any_of([B, A]), '{"anyOf":[{"name":"a"},{"name":"b"}]}'),
        (all_of([B, A]), '{"allOf":[{"name":"a"},{"name":"b"}]}'),
        (
            any_of([C, all_of([B, A])]),
            '{"anyOf":[{"allOf":[{"name":"a"},{"name":"b"}]},{"name":"c"}]}',
        ),
    ],
)
def test_the_text_tells_all(root: Node, text: str) -> None:
    selector = Selector(root, ["x"])
    assert selector.text == text
    assert repr(selector) == f"Selector({text})"


def test_equality_is_by_the_text() -> None:
    one, same = Selector(any_of([A, B]), ["a", "b"]), Selector(any_of([B, A]), ["b", "a", "a"])
    assert one == same
    assert {one, same} == {one}
    assert one != Selector(all_of([A, B]), [["a", "b"]])
    assert one != Selector(any_of([A, Term(Kind.TYPE, "b")]), ["a", "b"])
    assert one != one.text


def test_terms() -> None:
    tag = Term(Kind.TAG, "a")
    assert Selector(any_of([A, all_of([B, tag, any_of([C, A])])]), []).terms() == {A, B, C, tag}
    assert Selector(A, []).terms() == {A}
    assert Selector(EVERYTHING, []).terms() == set()


def test_the_plain_form_is_nobody_elses() -> None:
    plain = ["a", ["b"]]
    selector = Selector(A, plain)
    plain.append("c")
    selector.plain().append("d")
    assert selector.plain() == ["a", ["b"]]


@pytest.mark.parametrize(
    ("term", "matching", "others"),
    [
        (
            A,
            [("a", "T", [], []), ("s", "a", [], []), ("s", "T", [], ["d", "a"])],
            [("s", "T", ["a"], []), ("ab", "A", ["tags/a"], ["tags/a"]), ("s", "", [], [])],
        ),
        (
            Term(Kind.NAME, "tags/a"),
            [
                ("tags/a", "", [], []),
                ("s", "tags/a", [], []),
                ("s", "", ["a"], []),
                ("s", "", [], ["tags/a"]),
            ],
            [("a", "a", ["b", "tags/a"], ["a"])],
        ),
        (
            Term(Kind.TYPE, "a"),
            [("s", "a", [], [])],
            [("a", "T", ["a"], ["a"])],
        ),
        (
            Term(Kind.TAG, "a"),
            [("s", "T", ["a"], []), ("s", "T", ["b", "a"], [])],
            [("a", "a", ["tags/a"], ["a"]), ("tags/a", "tags/a", [], ["tags/a"])],
        ),
        (Term(Kind.TAG, "tags/a"), [("s", "T", ["tags/a"], [])], [("s", "T", ["a"], [])]),
        (Term(Kind.TYPE, "tags/a"), [("s", "tags/a", [], [])], [("s", "T", ["a"], [])]),
        (EVERYTHING, [("", "", [], []), ("a", "b", ["c"], ["d"])], []),
    ],
)
def test_what_each_term_means(
    term: Node, matching: list[naive.Event], others: list[naive.Event]
) -> None:
    selector = Selector(term, [])
    assert [event for event in matching if not selector.matches(*event)] == []
    assert [event for event in others if selector.matches(*event)] == []


@pytest.mark.parametrize("collection", [list, tuple, set, frozenset])
def test_tags_and_derived_streams_come_in_any_collection(collection: Any) -> None:
    selector = Selector(any_of([A, Term(Kind.TAG, "t")]), [])
    assert selector.matches("s", "T", collection(["t"]), collection([]))
    assert selector.matches("s", "T", collection([]), collection(["a"]))
    assert not selector.matches("s", "T", collection(["a"]), collection(["t"]))


def test_every_combination_of_and_and_or() -> None:
    a, b, c = (Term(Kind.TAG, name) for name in "abc")
    for size in range(4):
        for tags in itertools.combinations("abc", size):
            event = ("s", "T", tags, ())
            has = dict.fromkeys("abc", False) | dict.fromkeys(tags, True)
            assert Selector(any_of([a, all_of([b, c])]), []).matches(*event) == (
                has["a"] or (has["b"] and has["c"])
            )
            assert Selector(all_of([a, any_of([b, c])]), []).matches(*event) == (
                has["a"] and (has["b"] or has["c"])
            )


@given(naive.specs)
def test_every_tree_keeps_its_promises(spec: Any) -> None:
    def walk(node: Node) -> None:
        if isinstance(node, AnyOf | AllOf):
            assert len(node.parts) > 1
            assert len(set(node.parts)) == len(node.parts)
            for part in node.parts:
                assert type(part) is not type(node)
                assert not isinstance(part, Everything)
                walk(part)

    walk(parse_selector(spec, allow_all=True).root)


@given(naive.specs, st.randoms())
def test_order_and_repetition_do_not_count(spec: Any, random: Any) -> None:
    def stirred(part: Any) -> Any:
        if isinstance(part, str):
            return part
        parts = [stirred(each) for each in part]
        parts.append(random.choice(parts))
        random.shuffle(parts)
        return parts

    one, other = (parse_selector(each, allow_all=True) for each in (spec, stirred(spec)))
    assert one == other
    assert one.root == other.root
