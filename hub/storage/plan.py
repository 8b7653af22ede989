"""How events of the global order are found by a selector: which runs to look at.

Owns the way from a selector to SQL over the index. A plan names *drivers*, logs
and terms that every matching event has one of, and a test for runs; what a run
holds beside a matching event is for the reader to leave out, unless the plan is
`exact`. Must not know files.
"""

from __future__ import annotations

import math
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
"""Runs of all drivers together that are counted to tell how many there are about."""

LEAST_COUNTED = 32
"""Runs of each of them that are counted in any case."""

WORTH = 0.2
"""Share of all runs above which it is cheaper to look at every one than to follow drivers."""

WORTH_UNTESTED = 4.0
"""The same where a look at a run does not tell whether it has any of them: it would be read."""

SEEK = 0.2
"""What it costs to follow a driver to no run, of what a run costs."""

LOOKS = 16
"""Terms that a run is looked at for; to look for more costs more than to read it."""

DRIVERS = 4096
"""Logs and terms that are followed together; for more it is cheaper to look at every run."""


class Scope(Struct):
    """What of the global order is meant: all, unless something is given."""

    selector: Selector | None = None
    streams: Sequence[str] | None = None  # only what is in one of these, logs or derived
    matcher: Matcher | None = None  # only what it matches


class By(Enum):
    """What a driver follows: the rows of a table that have its key."""

    LOG = ("runs", "log")
    TERM = ("postings", "term")

    def among(self, keys: str) -> str:
        """SQL for the positions of the runs that any key of a JSON array leads to."""
        table, column = self.value
        return f"SELECT position FROM {table} WHERE {column} IN (SELECT value FROM {keys})"  # noqa: S608


Driver = tuple[By, int]


def keys_of(drivers: Iterable[Driver]) -> dict[By, list[int]]:
    """The keys of drivers, by what they follow; each once."""
    keys: dict[By, list[int]] = {}
    for by, key in dict.fromkeys(drivers):
        keys.setdefault(by, []).append(key)
    return keys


class Plan(Struct):
    """Which runs to look at; `drivers` None means all, `exact` that all their events match.

    The test lets pass every run that has a matching event, and perhaps more.
    """

    test: str  # SQL, of the run r
    values: list[object]
    drivers: list[Driver] | None
    exact: bool
    looks: int = 0  # terms that the test looks for
    plain: bool = False  # whether the test is that a driver leads to the run
    cost: float | None = None  # about how many runs the drivers lead to, once it is known


_ALL = Plan("1", [], None, True)
_NONE = Plan("0", [], [], True, cost=0.0)


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
        span = self._high - self._low + 1
        if scope.selector and len(scope.selector.terms()) * SEEK > span * WORTH_UNTESTED:
            return Plan("1", [], None, False)  # it is shorter to read than to ask for
        parts: list[Plan] = []
        if scope.streams is not None:
            parts.append(self._streams(scope.streams))
        if scope.selector is not None:
            parts.append(self._select(scope.selector.root))
        if scope.matcher is not None:
            parts.append(self._match(scope.matcher))
        plan = self._all(parts)
        if plan.drivers is None or self._is_worth(plan, plan.drivers):
            return plan
        return Plan(plan.test, plan.values, None, plan.exact)

    def _is_worth(self, plan: Plan, drivers: list[Driver]) -> bool:
        """Whether it costs less to follow the drivers of a plan than to look at every run."""
        tested = len(keys_of(drivers).get(By.TERM, ())) <= LOOKS
        most = (self._high - self._low + 1) * (WORTH if tested else WORTH_UNTESTED)
        return len(drivers) * SEEK <= most and self._cost(plan) <= most

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
        return _led(
            [(By.LOG, log.number) for name in names if (log := self._find(name)) and log.number]
        )

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
        if len(parts) < 2:
            return parts[0] if parts else _ALL
        exact = all(each.exact for each in parts)
        driven = sorted([each for each in parts if each.drivers is not None], key=self._cost)
        if not driven:
            return Plan("1", [], None, exact)
        least = driven[0]
        if not least.drivers:
            return Plan("0", [], [], exact, cost=0.0)
        kept: list[Plan] = []  # those that leave out the most
        looks = 0
        for each in driven:
            if each.test == "1" or looks + each.looks > LOOKS:
                exact = False
            else:
                kept.append(each)
                looks += each.looks
        return Plan(
            f"({' AND '.join([each.test for each in kept])})" if kept else "1",
            [value for each in kept for value in each.values],
            least.drivers,
            exact,
            looks,
            least.plain and (not kept or kept == [least]),
            least.cost,
        )

    def _cost(self, plan: Plan) -> float:
        """About how many runs the drivers of a plan lead to, and what it costs to ask them."""
        if plan.cost is None:
            plan.cost = self._counted(plan.drivers or [])
        return plan.cost

    def _counted(self, drivers: list[Driver]) -> float:
        """The same, going by the first runs of each driver."""
        if len(drivers) > DRIVERS:
            return math.inf
        most = min(COUNTED, max(COUNTED // max(1, len(drivers)), LEAST_COUNTED))
        cost = len(drivers) * SEEK
        for by, keys in keys_of(drivers).items():
            table, column = by.value
            (runs,) = self._db.execute(
                "SELECT sum((SELECT CASE WHEN count(*) < :most THEN count(*) "  # noqa: S608
                "ELSE count(*) * (:high - :low + 1.0) / (max(position) - :low + 1) END "
                f"FROM (SELECT position FROM {table} WHERE {column} = driver.value "
                "AND position BETWEEN :low AND :high ORDER BY position LIMIT :most)"
                ")) FROM json_each(:keys) driver",
                {"most": most, "low": self._low, "high": self._high, "keys": as_json(keys)},
            ).fetchone()
            cost += runs
        return cost

    def _is_used(self, term: int) -> bool:
        """Whether any run has a term."""
        used = "SELECT 1 FROM postings WHERE term = ? LIMIT 1"
        return self._db.execute(used, (term,)).fetchone() is not None


def as_json(keys: list[int]) -> str:
    """Keys as they are given to SQL."""
    return msgspec.json.encode(keys).decode()


def _by_term(term: int) -> Plan:
    return _led([(By.TERM, term)])


def _led(drivers: list[Driver]) -> Plan:
    """The runs that drivers lead to; the test passes all if it had to look for too much."""
    keys = keys_of(drivers)
    logs, terms = keys.get(By.LOG, []), keys.get(By.TERM, [])
    if not drivers:
        return _NONE
    if len(terms) > LOOKS:
        return Plan("1", [], drivers, False, plain=True)
    tests: list[str] = []
    values: list[object] = []
    # The + keeps SQLite from an index by log, after which it would have to sort.
    for those, test in ((logs, "+r.log {}"), (terms, _HAS_TERM)):
        if len(those) == 1:
            tests.append(test.format("= ?"))
            values += those
        elif those:
            tests.append(test.format("IN (SELECT value FROM json_each(?))"))
            values.append(as_json(those))
    test = tests[0] if len(tests) == 1 else f"({' OR '.join(tests)})"
    return Plan(test, values, drivers, not terms, bool(logs) + len(terms), plain=True)


_HAS_TERM = "EXISTS (SELECT 1 FROM postings p WHERE p.term {} AND p.position = r.position)"


def _any(parts: list[Plan]) -> Plan:
    parts = [each for each in parts if each.drivers != []]
    if len(parts) < 2:
        return parts[0] if parts else _NONE
    exact = all(each.exact for each in parts)
    drivers: list[Driver] = []
    for each in parts:
        if each.drivers is None:
            return Plan("1", [], None, exact)
        drivers += each.drivers
    drivers = list(dict.fromkeys(drivers))
    tested = [each for each in parts if not each.plain]
    plain = [driver for each in parts if each.plain for driver in each.drivers or ()]
    if plain:  # one look for all of them
        tested.append(_led(plain))
    looks = sum(each.looks for each in tested)
    if len(tested) == 1 or looks > LOOKS or any(each.test == "1" for each in tested):
        led = _led(drivers)  # also of what has too many terms: nothing is left out
        led.exact = exact and led.exact and len(tested) == 1
        return led
    return Plan(
        f"({' OR '.join([each.test for each in tested])})",
        [value for each in tested for value in each.values],
        drivers,
        exact,
        looks,
    )
