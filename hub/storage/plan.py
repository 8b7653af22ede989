"""How events of the global order are found by a selector: which runs to look at.

Owns the way from a selector to SQL over the index. A plan names *drivers*, logs
and terms that every matching event has one of, and a test for runs; what a run
holds beside a matching event is for the reader to leave out, unless the plan is
`exact`. Must not know files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from enum import Enum

import msgspec
from msgspec import Struct

from hub.matcher import Matcher
from hub.selector import AllOf, AnyOf, Everything, Node, Selector
from hub.selector import Kind as Names
from hub.selector.tree import TAGS
from hub.storage.log import Log
from hub.storage.terms import Kind, term_of

COUNTED = 1000
"""Runs of a driver that are counted to tell how many there are about."""

WORTH = 0.2
"""Share of all runs above which it is cheaper to look at every one than to follow drivers."""

DRIVERS = 64
"""Logs and terms that are followed one by one; for more it is cheaper to look at every run."""


class Scope(Struct):
    """What of the global order is meant: all, unless something is given."""

    selector: Selector | None = None
    streams: Sequence[str] | None = None  # only what is in one of these, logs or derived
    matcher: Matcher | None = None  # only what it matches


class By(Enum):
    """What a driver follows."""

    LOG = "SELECT position FROM runs WHERE log = ?"
    TERM = "SELECT position FROM postings WHERE term = ?"


Driver = tuple[By, int]


class Plan(Struct):
    """Which runs to look at; `drivers` None means all, `exact` that all their events match."""

    test: str  # SQL, of the run r
    values: list[object]
    drivers: list[Driver] | None
    exact: bool


_ALL = Plan("1", [], None, True)
_NONE = Plan("0", [], [], True)


class Planner:
    """Makes plans over one connection, for one moment."""

    def __init__(
        self,
        db: sqlite3.Connection,
        find: Callable[[str], Log | None],
        derived: Callable[[str], Matcher | None],
        type_key: str,
        low: int,
        high: int,
    ) -> None:
        self._db = db
        self._find = find
        self._derived = derived
        self._type_key = type_key
        self._low, self._high = low, high  # positions

    def plan(self, scope: Scope) -> Plan:
        """The plan for a scope."""
        parts: list[Plan] = []
        if scope.streams is not None:
            parts.append(self._streams(scope.streams))
        if scope.selector is not None:
            parts.append(self._select(scope.selector.root))
        if scope.matcher is not None:
            parts.append(self._match(scope.matcher))
        plan = self._all(parts)
        if plan.drivers is not None and (
            len(plan.drivers) > DRIVERS
            or self._cost(plan.drivers) > (self._high - self._low + 1) * WORTH
        ):
            plan = Plan(plan.test, plan.values, None, plan.exact)
        return plan

    def _select(self, node: Node) -> Plan:
        if isinstance(node, Everything):
            return _ALL
        if isinstance(node, AnyOf):
            return _any([self._select(each) for each in node.parts])
        if isinstance(node, AllOf):
            return self._all([self._select(each) for each in node.parts])
        if node.kind is Names.TYPE:
            return _by_term(term_of(Kind.TYPE, node.name))
        if node.kind is Names.TAG:
            return _by_term(term_of(Kind.TAG, node.name))
        return self._name(node.name)

    def _name(self, name: str) -> Plan:
        """A name is that of a stream, of a type, of a tag: whatever there is."""
        parts: list[Plan] = []
        if self._find(name):
            parts.append(self._logs([name]))
        terms = [term_of(Kind.TYPE, name)]
        if name.startswith(TAGS):
            terms.append(term_of(Kind.TAG, name.removeprefix(TAGS)))
        parts += [_by_term(term) for term in terms if self._is_used(term)]
        matcher = self._derived(name)
        if matcher:
            parts.append(self._match(matcher))
        return _any(parts)

    def _streams(self, names: Sequence[str]) -> Plan:
        derived = [matcher for name in names if (matcher := self._derived(name))]
        return _any([self._logs(names), *[self._match(each) for each in derived]])

    def _logs(self, names: Iterable[str]) -> Plan:
        numbers = [log.number for name in names if (log := self._find(name)) and log.number]
        if not numbers:
            return _NONE
        drivers = [(By.LOG, number) for number in numbers]
        # The + keeps SQLite from an index by log, after which it would have to sort.
        if len(numbers) == 1:
            return Plan("+r.log = ?", list(numbers), drivers, True)
        values: list[object] = [msgspec.json.encode(numbers).decode()]
        return Plan("+r.log IN (SELECT value FROM json_each(?))", values, drivers, True)

    def _match(self, matcher: Matcher) -> Plan:
        """What a matcher's fixed streams and types leave; its rest is for the reader."""
        parts = [Plan("1", [], None, False)]
        if matcher.streams is not None:
            parts.append(self._logs(sorted(matcher.streams)))
        types = matcher.types(self._type_key)
        if types is not None:
            parts.append(_any([_by_term(term_of(Kind.TYPE, each)) for each in sorted(types)]))
        return self._all(parts)

    def _all(self, parts: list[Plan]) -> Plan:
        if not parts:
            return _ALL
        driven = [each.drivers for each in parts if each.drivers is not None]
        return Plan(
            _balanced(" AND ", [each.test for each in parts]),
            [value for each in parts for value in each.values],
            min(driven, key=lambda each: self._cost(each)) if driven else None,
            all(each.exact for each in parts),
        )

    def _cost(self, drivers: Iterable[Driver]) -> float:
        """About how many runs they lead to."""
        return sum(self._runs(by, key) for by, key in drivers)

    def _runs(self, by: By, key: int) -> float:
        """About how many runs a driver leads to, going by the first of them."""
        found = self._db.execute(
            f"SELECT count(*), max(position) FROM ({by.value} "  # noqa: S608
            "AND position >= ? ORDER BY position LIMIT ?)",
            (key, self._low, COUNTED),
        ).fetchone()
        count, last = found
        if count < COUNTED:
            return float(count)
        return float(count * (self._high - self._low + 1) / (last - self._low + 1))

    def _is_used(self, term: int) -> bool:
        """Whether any run has a term."""
        return self._db.execute(f"{By.TERM.value} LIMIT 1", (term,)).fetchone() is not None


def _by_term(term: int) -> Plan:
    test = "EXISTS (SELECT 1 FROM postings p WHERE p.term = ? AND p.position = r.position)"
    return Plan(test, [term], [(By.TERM, term)], False)


def _any(parts: list[Plan]) -> Plan:
    if not parts:
        return _NONE
    if len(parts) == 1:
        return parts[0]
    drivers: list[Driver] | None = []
    for each in parts:
        if drivers is None or each.drivers is None:
            drivers = None
        else:
            drivers += each.drivers
    return Plan(
        _balanced(" OR ", [each.test for each in parts]),
        [value for each in parts for value in each.values],
        drivers,
        all(each.exact for each in parts),
    )


def _balanced(operator: str, tests: list[str]) -> str:
    """Tests joined by an operator. SQLite bounds how deep an expression may nest."""
    if len(tests) == 1:
        return f"({tests[0]})"
    middle = len(tests) // 2
    return f"({_balanced(operator, tests[:middle])}{operator}{_balanced(operator, tests[middle:])})"
