"""The twin without asyncio: complete, typed as the other one, and usable where people use it."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from hub import client
from hub.client import ClientClosed, Decision, Event, HandlerFailed, InvalidName, Query
from hub.client.sync import Hub
from tests.process import PATIENCE, HubProcess


def public(kind: type) -> dict[str, object]:
    return {
        name: member
        for name, member in inspect.getmembers(kind)
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }


@pytest.fixture
def hub(server: HubProcess) -> Iterator[Hub]:
    with Hub(server.url) as hub:
        yield hub


def test_every_public_method_has_its_twin_with_the_same_signature() -> None:
    ours, theirs = public(Hub), public(client.Hub)
    assert set(ours) == set(theirs)
    for name, member in theirs.items():
        twin = ours[name]
        if isinstance(member, property):
            assert isinstance(twin, property)
            continue
        assert callable(member)
        assert callable(twin)
        own = inspect.signature(twin, follow_wrapped=False)
        if not any(each.kind is each.VAR_POSITIONAL for each in own.parameters.values()):
            # Written out: it must be what it is said to be.
            wanted = inspect.signature(member).parameters.values()
            found = own.parameters.values()
            assert [(p.name, p.kind, p.default) for p in found] == [
                (p.name, p.kind, p.default) for p in wanted
            ], name
        assert inspect.signature(twin) == inspect.signature(member), name
        assert inspect.getdoc(twin) == inspect.getdoc(member), name
    for kind in (Hub, client.Hub):
        assert list(inspect.signature(kind).parameters) == list(
            inspect.signature(client.Hub).parameters
        )


def test_a_script(hub: Hub) -> None:
    first = hub.publish("orders", {"price": 4}, event="placed")
    done = hub.publish_many("orders", ({"price": n} for n in range(3000)), event="placed")
    assert done.count == 3000
    assert [each.id for each in hub.history("orders", limit=1)] == [first]
    assert (
        hub.fold("orders", lambda total, event: total + event.json()["price"], 0) == 4 + 4_498_500
    )
    for number, total in enumerate(hub.scan("orders", lambda total, _: total + 1, 0), 1):
        assert total == number
        if number == 3001:
            break
    with hub.subscribe("orders", since=done.first) as live:
        assert next(live).json() == {"price": 1}


def test_streams_from_a_script(hub: Hub) -> None:
    hub.commit("art", [{"type": "Defined", "tags": ["course:art"]}])
    found = hub.query(tags=["course:art"])
    assert [each.type for each in found] == ["Defined"]
    assert found.version == 1
    hub.commit("art", [{"type": "Enrolled"}], condition=found.condition)
    thread = threading.current_thread()

    def decide(seen: list[client.Document]) -> Decision:
        assert threading.current_thread() is thread
        assert hub.version("art") == 2  # the hub can be used here
        return Decision("art", [{"type": "Closed", "after": len(seen)}])

    done = hub.decide(Query(types=["Defined"]), decide)
    assert done is not None
    assert done.events == [{"type": "Closed", "after": 1}]
    assert [each.type for each in hub.read("art", backwards=1)] == ["Closed"]


def test_errors_are_those_of_the_other_client(hub: Hub) -> None:
    with pytest.raises(InvalidName):
        hub.publish("a", "too short")
    with pytest.raises(client.UnknownStream) as caught:
        list(hub.read("nothing"))
    assert caught.value.status == 404


def test_what_is_published_is_taken_in_the_thread_of_the_call(hub: Hub) -> None:
    database = sqlite3.connect(":memory:")  # it refuses other threads
    database.execute("create table t as select 'a' as name union all select 'b'")
    rows = database.execute("select name from t order by name")
    assert hub.publish_many("names", (row[0] for row in rows)).count == 2
    assert [each.data for each in hub.history("names")] == ["a", "b"]

    def fails() -> Iterator[str]:
        yield "c"
        raise KeyError("d")

    with pytest.raises(KeyError, match="d"):
        hub.publish_many("names", fails())


def test_handlers_are_called_in_the_thread_of_the_call_and_may_use_the_hub(hub: Hub) -> None:
    thread = threading.current_thread()
    hub.publish_many("orders", range(3))

    @hub.on("orders")
    def copy(event: Event) -> None:
        assert threading.current_thread() is thread
        hub.publish("copies", event.data)
        if event.json() == 2:
            raise ValueError("enough")

    with pytest.raises(HandlerFailed, match=r"'copy' failed 1 times.*enough"):
        hub.run(attempts=1)
    assert [each.json() for each in hub.history("copies")] == [0, 1, 2]


def test_a_function_in_the_loops_thread_that_uses_the_hub_is_told(hub: Hub) -> None:
    with pytest.raises(RuntimeError, match="its own thread"):
        hub.publish_many("orders", range(3), progress=lambda _: hub.health())
    assert hub.health()["status"] == "ok"


async def test_in_a_notebook_where_a_loop_runs_already(server: HubProcess) -> None:
    assert asyncio.get_running_loop()
    with Hub(server.url) as hub:
        hub.publish("orders", "text")
        assert [each.data for each in hub.history("orders")] == ["text"]


def test_a_closed_hub_says_so_also_to_those_who_wait(server: HubProcess) -> None:
    hub = Hub(server.url)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            next(hub.subscribe("orders"))
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    hub.close()
    hub.close()
    thread.join(PATIENCE)
    assert [type(each) for each in caught] == [ClientClosed]
    with pytest.raises(ClientClosed):
        hub.publish("orders", "late")
    assert not [each for each in threading.enumerate() if each.name == "hub.client.sync"]


def test_who_leaves_a_loop_leaves_no_connection(hub: Hub) -> None:
    hub.publish("orders", "1")
    for _ in hub.subscribe("orders", since="start"):
        break
    deadline = time.monotonic() + PATIENCE
    while hub.health()["subscribers"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


_WAITS = """
import sys
from hub.client.sync import Hub
hub = Hub(sys.argv[1])
print("waiting", flush=True)
try:
    for event in hub.scan("orders", lambda state, event: state + 1, 0, snapshot=sys.argv[2]):
        print(event, flush=True)
except KeyboardInterrupt:
    print("interrupted", hub.publish("orders", "last words")[:4], flush=True)
    raise SystemExit(3)
"""


def test_ctrl_c_ends_what_waits(server: HubProcess, hub: Hub, tmp_path: object) -> None:
    hub.publish("orders", "1")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _WAITS, server.url, f"{tmp_path}/snapshot"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    assert process.stdout.readline() == "1\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3, errors
    assert output.startswith("interrupted 2")
    assert errors == ""
    # What waited was cancelled, and has kept its place.
    with hub.scan("orders", lambda state, _: state + 1, 0, snapshot=f"{tmp_path}/snapshot") as kept:
        assert [next(kept), next(kept)] == [1, 2]
