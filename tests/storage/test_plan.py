"""Plans: few runs are looked at, and none is left out. What is found at last: `test_order`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.matcher import compile_matcher
from hub.selector import parse_selector, query_of_items, query_of_types
from hub.storage import plan as module
from hub.storage import runs
from hub.storage.plan import By, Plan, Planner, Scope, as_json, keys_of
from hub.storage.terms import Kind, term_of
from tests.storage.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """200 events of two logs by turns, and a rare one in a third."""
    monkeypatch.setattr(runs, "RUN_EVENTS", 1)
    world = World(tmp_path)
    for n in range(100):
        world.add([("log-a", [{"type": "A", "tags": ["odd"] * (n % 2)}])])
        world.add([("log-b", [{"type": "B", "tags": ["odd"] * (n % 2)}])])
    world.add([("cat-1", [{"type": "Rare", "tags": ["odd"]}])])
    world.derived["view"] = compile_matcher({"payload": {"type": "Rare"}})
    yield world
    world.close()


def plan_of(world: World, scope: Scope, low: int = 1, high: int = 0) -> Plan:
    planner = Planner(
        world.index.db,
        world.sources.find,
        world.sources.derived,
        "type",
        low,
        high or world.head,
    )
    return planner.plan(scope)


def selector(spec: Any) -> Scope:
    return Scope(parse_selector(spec, allow_all=True))


def looked_at(world: World, plan: Plan) -> int:
    """How many runs are looked at, among those that the drivers lead to."""
    where = f"({plan.test})"
    values = list(plan.values)
    if plan.drivers is not None:
        places = set()
        for by, keys in keys_of(plan.drivers).items():
            led = world.index.db.execute(by.among("json_each(?)"), (as_json(keys),))
            places |= {position for (position,) in led}
        where += f" AND position IN ({','.join(map(str, places)) or 'NULL'})"
    found = world.index.db.execute(f"SELECT count(*) FROM runs r WHERE {where}", values)
    return int(found.fetchone()[0])


def test_everything_is_read_in_order(world: World) -> None:
    for scope in (Scope(), selector("_all")):
        plan = plan_of(world, scope)
        assert (plan.drivers, plan.exact, looked_at(world, plan)) == (None, True, 201)


def test_a_stream_leads_to_its_runs_and_they_are_exact(world: World) -> None:
    number = world.by_name["cat-1"].number
    for scope in (Scope(streams=["cat-1"]), Scope(streams=["cat-1", "unknown"])):
        plan = plan_of(world, scope)
        assert (plan.drivers, plan.exact) == ([(By.LOG, number)], True)
        assert looked_at(world, plan) == 1


def test_a_type_leads_to_its_runs(world: World) -> None:
    plan = plan_of(world, Scope(query_of_types(["Rare"])))
    assert (plan.drivers, plan.exact) == ([(By.TERM, term_of(Kind.TYPE, "Rare"))], False)
    assert looked_at(world, plan) == 1


def test_of_an_and_the_rarest_part_leads(world: World) -> None:
    rare = [(By.TERM, term_of(Kind.TYPE, "Rare"))]
    for scope in (
        selector([["tags/odd", "Rare"]]),
        Scope(query_of_items({"items": [{"types": ["Rare"], "tags": ["odd"]}]})),
        Scope(query_of_types(["Rare"]), matcher=compile_matcher({"payload": {"x": 1}})),
    ):
        plan = plan_of(world, scope)
        assert plan.drivers == rare
        assert looked_at(world, plan) == 1


def test_of_an_or_every_part_leads(world: World) -> None:
    plan = plan_of(world, selector(["cat-1", "Rare", "unknown", "tags/unknown"]))
    number = world.by_name["cat-1"].number
    assert plan.drivers is not None
    assert set(plan.drivers) == {(By.LOG, number), (By.TERM, term_of(Kind.TYPE, "Rare"))}
    assert plan_of(world, selector("unknown")).drivers == []


def test_what_most_events_have_is_not_followed(world: World) -> None:
    """It is cheaper to go through all."""
    for scope in (selector([["A"], "B"]), Scope(query_of_types(["A", "B"]))):
        assert plan_of(world, scope).drivers is None
    assert looked_at(world, plan_of(world, Scope(query_of_types(["A", "B"])))) == 200


def test_more_drivers_than_are_worth_it_are_not_followed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = selector(["cat-1", "Rare"])
    assert plan_of(world, scope).drivers is not None
    monkeypatch.setattr(module, "DRIVERS", 1)
    plan = plan_of(world, scope)
    assert (plan.drivers, looked_at(world, plan)) == (None, 1)


def test_a_matcher_leads_by_its_streams_and_types(world: World) -> None:
    number = world.by_name["cat-1"].number
    for spec, drivers in (
        ({"stream": "cat-1"}, [(By.LOG, number)]),
        ({"payload": {"type": "Rare"}}, [(By.TERM, term_of(Kind.TYPE, "Rare"))]),
        ({"payload": {"n": 1}}, None),
        ({"stream": "unknown"}, []),
    ):
        plan = plan_of(world, Scope(matcher=compile_matcher(spec)))
        assert (plan.drivers, plan.exact) == (drivers, False)


def test_a_derived_stream_leads_as_its_matcher_does(world: World) -> None:
    rare = [(By.TERM, term_of(Kind.TYPE, "Rare"))]
    assert plan_of(world, selector("view")).drivers == rare
    plan = plan_of(world, Scope(streams=["view"]))
    assert (plan.drivers, plan.exact) == (rare, False)


def test_only_what_is_in_the_window_counts(world: World) -> None:
    """What was common long ago may be rare now."""
    assert plan_of(world, Scope(query_of_types(["A", "B"]))).drivers is None
    plan = plan_of(world, Scope(query_of_types(["A"])), 201, 201)
    assert plan.drivers == [(By.TERM, term_of(Kind.TYPE, "A"))]


@pytest.mark.parametrize("count", [2, 100, 1000])
def test_many_names_are_not_too_many_for_sqlite(world: World, count: int) -> None:
    names = [f"name-{n}" for n in range(count - 1)] + ["Rare"]
    for scope in (
        Scope(query_of_types(names)),
        selector([*names[:-1], ["Rare"]]),
        Scope(streams=[*names, "cat-1"]),
    ):
        assert [event.stream for event in world.read(scope)] == ["cat-1"]
    assert world.read(selector([names])) == []


def steps(world: World, scope: Scope) -> tuple[int, int]:
    """About how many steps SQLite takes to read a scope, and how many events there are."""
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1

    world.index.db.set_progress_handler(step, 10)
    try:
        return len(world.read(scope)), taken
    finally:
        world.index.db.set_progress_handler(None, 0)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """20,000 events, each a run; 1000 of them, spread among the others, are of types of their own.

    Each also has one of three tags.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "RUN_EVENTS", 1)
        world = World(tmp_path_factory.mktemp("large"))
        for n in range(0, 20_000, 1000):
            world.add(
                (
                    f"log-{at % 10}",
                    [
                        {
                            "type": f"type-{at // 20}" if at % 20 == 0 else "Common",
                            "tags": [f"tag-{at % 3}"],
                        }
                    ],
                )
                for at in range(n, n + 1000)
            )
    yield world
    world.close()


def test_the_number_of_names_makes_little_difference(large: World) -> None:
    """Only what is found does."""
    types = [f"type-{n}" for n in range(1000)]
    for make in (
        query_of_types,
        lambda names: parse_selector(names, allow_all=False),
        lambda names: parse_selector([["tags/tag-1", names]], allow_all=False),
    ):
        some = Scope(make([*types[:63], "unknown"]))
        found, few = steps(large, some)
        assert found in (63, 21)
        for count in (65, 200, 998):
            scope = Scope(make([*types[:count], "unknown"]))
            found, taken = steps(large, scope)
            assert found in (count, count // 3)
            assert taken / count < 3 * few / 64


def test_of_many_names_that_most_events_have_each_is_looked_for_once(large: World) -> None:
    """Not in every run."""
    types = [f"type-{n}" for n in range(999)]
    found, taken = steps(large, Scope(query_of_types(["Common", "type-1", "type-2"])))
    assert found == 19_002
    found, more = steps(large, Scope(query_of_types(["Common", *types])))
    assert found == 19_999
    assert more < 3 * taken


def test_behind_the_last_events_many_names_are_not_looked_for(large: World) -> None:
    """A condition of a commit asks for what has come since: it is cheaper to read that."""
    scope = Scope(query_of_types([f"type-{n}" for n in range(1000)]))
    asked: list[str] = []
    large.index.db.set_trace_callback(asked.append)
    plan = plan_of(large, scope, large.head - 9)
    assert (plan.drivers, plan.exact) == (None, False)
    plan = plan_of(large, selector(scope.selector.plain() if scope.selector else ""), large.head)
    large.index.db.set_trace_callback(None)
    assert (plan.drivers, plan.exact, asked) == (None, False, [])
    assert len(large.read(scope, large.head - 30)) == 1


def test_of_an_and_with_too_much_to_look_for_the_rarest_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKS", 1)
    rare = [(By.TERM, term_of(Kind.TYPE, "Rare"))]
    for spec in ([["tags/odd", "Rare"]], [["Rare", ["A", "B", "tags/odd"]]]):
        plan = plan_of(world, selector(spec))
        assert (plan.drivers, plan.exact, looked_at(world, plan)) == (rare, False, 1)
        assert [event.stream for event in world.read(selector(spec))] == ["cat-1"]
