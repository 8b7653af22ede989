"""A hub against a plain model of an event store, through HTTP only, with restarts and crashes."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import RunHub
from tests.process import HubProcess
from tests.storing import Document, Storing, Told
from tests.web.wire import NDJSON, TSV

EXAMPLES, STEPS = 6, 40
"""Stores, and what happens in each."""

ENDS = 2
"""How often the hub ends in each, at most: to start takes longer than all the rest."""

TYPES = "ABC"
TAGS = "xyz"
STREAMS = ["orders-1", "orders-2", "orders/eu", "b", "channel"]
DERIVED = ["derived", "orders-derived"]

streams = st.sampled_from(STREAMS)
kinds = st.sampled_from(TYPES)
some_events = st.lists(
    st.tuples(kinds, st.frozensets(st.sampled_from(TAGS), max_size=2)), min_size=1, max_size=4
)
ends = st.none() | st.sampled_from(["start", "end"]) | st.integers(-8, 12).filter(bool)
amounts = st.none() | st.tuples(st.sampled_from(["forwards", "backwards"]), st.integers(1, 6))


class Event(NamedTuple):
    """What the model knows of an event: how it is found, and a number that only it has."""

    stream: str
    kind: str
    tags: frozenset[str]
    token: int


class Log:
    """A stream of the model."""

    def __init__(self, form: str) -> None:
        self.format = form
        self.closed = False
        self.events: list[Event] = []


class Store(RuleBasedStateMachine):
    """One of many stores that share one hub: its names and types are its own."""

    hub: HubProcess
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        Store.runs += 1
        self.run = self.runs
        self.client = Storing(self.hub)
        self.logs: dict[str, Log] = {}
        self.derived: dict[str, str] = {}  # the type that one holds
        self.order: list[Event] = []
        self.base = self.client.ask("GET", "/streams/_all/version").json["version"]
        self.tokens = 0
        self.ends = 0

    def teardown(self) -> None:
        self.client.close()

    def name(self, stream: str) -> str:
        return f"run{self.run}/{stream}" if "-" not in stream else f"r{self.run}x{stream}"

    def channel(self, stream: str) -> str:
        return f"run{self.run}-{stream}"

    def kind(self, kind: str) -> str:
        return f"{kind}{self.run}"

    def real(self, stream: str) -> str:
        """What a stream is called in the hub."""
        return self.channel(stream) if stream == "channel" else self.name(stream)

    def made(self, stream: str, events: list[tuple[str, frozenset[str]]]) -> list[Event]:
        found = []
        for kind, tags in events:
            self.tokens += 1
            found.append(Event(stream, kind, tags, self.tokens))
        return found

    def payload(self, event: Event) -> Document:
        return {"type": self.kind(event.kind), "tags": sorted(event.tags), "token": event.token}

    def take_in(self, stream: str, form: str, events: list[Event]) -> None:
        log = self.logs.setdefault(stream, Log(form))
        log.events += events
        self.order += events

    def check(self, documents: list[Document], expected: list[Event]) -> None:
        found = [(each["stream"], each["payload"]) for each in documents]
        assert found == [(self.real(each.stream), self.payload(each)) for each in expected]

    # Writing

    def refusal(self, stream: str, expected: object) -> str | None:
        """Why a commit to a stream is refused."""
        log = self.logs.get(stream)
        if log is not None and log.closed:
            return "stream_closed"
        version = 0 if log is None else len(log.events)
        wanted = 0 if expected in ("empty", "emptyStream") else expected
        if type(wanted) is int and wanted != version:
            return "version_conflict"
        return None

    def expect(self, told: Told, code: str | None) -> bool:
        """Check the status of a write; return whether it was taken."""
        if code is None:
            assert told.status == 201, told
            return True
        assert (told.status, told.json["code"]) == (409, code)
        return False

    @rule(
        stream=streams,
        events=some_events,
        expected=st.sampled_from([None, "any", "empty", "right", "wrong", 0, 1]),
        metadata=st.sampled_from([None, {}, {"by": "me"}]),
    )
    def commit(
        self,
        stream: str,
        events: list[tuple[str, frozenset[str]]],
        expected: object,
        metadata: Document | None,
    ) -> None:
        log = self.logs.get(stream)
        version = 0 if log is None else len(log.events)
        expected = {"right": version, "wrong": version + 1}.get(str(expected), expected)
        new = self.made(stream, events)
        told = self.client.commit(
            self.real(stream), *map(self.payload, new), expectedVersion=expected, metadata=metadata
        )
        code = self.refusal(stream, expected)
        if log is not None and log.format == "tsv" and metadata:
            assert told.status == 409
            assert told.json["code"] in (code, "format_conflict")
        elif self.expect(told, code):
            self.take_in(stream, "ndjson", new)
            answer = told.json
            assert (answer["streamVersion"], answer["version"]) == (version, version + len(new))
            assert answer["position"] == self.base + len(self.order)
            assert answer["events"] == list(map(self.payload, new))
            if metadata:
                assert answer["by"] == "me"

    @rule(events=some_events, form=st.sampled_from(["single", "tsv", "ndjson"]))
    def post(self, events: list[tuple[str, frozenset[str]]], form: str) -> None:
        """The other door: single events and batches."""
        new = self.made("channel", events[:1] if form == "single" else events)
        path = f"/{self.channel('channel')}"
        texts = [json.dumps(self.payload(each)).encode() for each in new]
        if form == "single":
            told = self.client.ask("POST", path, texts[0])
        elif form == "tsv":
            lines = b"".join(b"\t\t%b\n" % text for text in texts)
            told = self.client.ask("POST", path, lines, TSV["Content-Type"])
        else:
            told = self.client.ask("POST", path, b"\n".join(texts), NDJSON["Content-Type"])
        if self.expect(told, self.refusal("channel", None)):
            self.take_in("channel", "tsv", new)

    @rule(stream=streams)
    def close(self, stream: str) -> None:
        told = self.client.ask("POST", f"/streams/{quote(self.real(stream), safe='')}/close")
        log = self.logs.get(stream)
        if log is None:
            assert told.status == 404
            return
        log.closed = True
        assert (told.status, told.json["version"]) == (200, len(log.events))

    @rule(stream=streams)
    def make(self, stream: str) -> None:
        """An empty log."""
        name = self.real(stream)
        told = self.client.ask("PUT", f"/streams/{quote(name, safe='')}", {"stream": name})
        log = self.logs.get(stream)
        assert told.status == (201 if log is None else 200)
        log = self.logs.setdefault(stream, Log("ndjson"))
        assert told.json == {"stream": name, "version": len(log.events)}

    # Derived streams

    @rule(name=st.sampled_from(DERIVED), kind=kinds)
    def derive(self, name: str, kind: str) -> None:
        matcher = {"payload": {"type": self.kind(kind)}}
        told = self.client.ask("PUT", f"/streams/{quote(self.name(name), safe='')}", matcher)
        known = self.derived.get(name)
        if known is not None and known != kind:
            assert (told.status, told.json["code"]) == (409, "name_taken")
            return
        self.derived[name] = kind
        assert told.status == (201 if known is None else 200)
        assert told.json["version"] == len(self.of_kind(kind))

    @rule(name=st.sampled_from(DERIVED))
    def delete(self, name: str) -> None:
        told = self.client.ask("DELETE", f"/streams/{quote(self.name(name), safe='')}")
        assert told.status == (204 if self.derived.pop(name, None) else 404)

    def of_kind(self, *wanted: str) -> list[Event]:
        return [each for each in self.order if each.kind in wanted]

    # Conditions

    @rule(
        wanted=st.frozensets(kinds, min_size=1),
        tag=st.none() | st.sampled_from(TAGS),
        between=st.none() | st.tuples(streams, some_events),
        stream=streams,
        events=some_events,
        as_text=st.booleans(),
    )
    def decide(
        self,
        wanted: frozenset[str],
        tag: str | None,
        between: tuple[str, list[tuple[str, frozenset[str]]]] | None,
        stream: str,
        events: list[tuple[str, frozenset[str]]],
        as_text: bool,
    ) -> None:
        """Query, perhaps be overtaken, and commit with the condition."""

        def is_meant(event: Event) -> bool:
            return event.kind in wanted and (tag is None or tag in event.tags)

        names = sorted(map(self.kind, wanted))
        query = {"types": names, "tags": [tag]} if tag else {"types": names}
        told = self.client.ask("GET", "/query", query=json.dumps({"items": [query]}))
        self.check(told.documents, list(filter(is_meant, self.order)))
        text = told.headers["x-event-store-query-condition"]
        assert json.loads(text)["noneMatchAfter"] == self.base + len(self.order)
        seen = len(self.order)
        if between is not None:
            self.commit(between[0], between[1], None, None)
        new = self.made(stream, events)
        told = self.client.commit(
            self.real(stream),
            *map(self.payload, new),
            condition=text if as_text else json.loads(text),
        )
        code = self.refusal(stream, None)
        overtaken = any(map(is_meant, self.order[seen:]))
        if code and overtaken:
            assert told.status == 409
        elif self.expect(told, "condition_conflict" if overtaken else code):
            self.take_in(stream, "ndjson", new)

    # Reading

    @rule(
        stream=st.sampled_from([*STREAMS, *DERIVED]),
        start=ends,
        until=ends,
        amount=amounts,
        kind=st.none() | kinds,
    )
    def read(
        self,
        stream: str,
        start: int | str | None,
        until: int | str | None,
        amount: tuple[str, int] | None,
        kind: str | None,
    ) -> None:
        """A window of a log or of a derived stream."""
        events: list[Event] | None = None
        if stream in self.derived:
            events = self.of_kind(self.derived[stream])
        elif stream in self.logs:
            events = self.logs[stream].events
        length = len(events or ())
        if type(until) is int and until > length:
            until = "end"  # it would wait
        name = self.name(stream) if stream in DERIVED else self.real(stream)
        told = self.window(quote(name, safe=""), start, until, amount, kind)
        if events is None:
            assert told.status == 404
            return
        assert told.headers["x-event-store-version"] == str(length)
        numbers = expected_window(length, start, until, amount)
        found = [events[number - 1] for number in numbers]
        self.check(told.documents, [each for each in found if kind in (None, each.kind)])

    @rule(
        path=st.sampled_from(["_all", "join", "category"]),
        start=st.integers(-8, 12).filter(bool),
        until=st.none() | st.integers(-8, -1),
        amount=amounts,
        kind=st.none() | kinds,
        names=st.frozensets(streams, min_size=1),
    )
    def read_order(
        self,
        path: str,
        start: int,
        until: int | None,
        amount: tuple[str, int] | None,
        kind: str | None,
        names: frozenset[str],
    ) -> None:
        """A window of the global order, which has the events of other runs before ours."""
        length = self.base + len(self.order)
        start = start + self.base if start > 0 else max(start, -len(self.order)) or 1
        if start <= self.base and -start <= self.base:
            start = self.base + 1
        query = {}
        heads = None
        if path == "join":
            query["selector"] = json.dumps([self.real(each) for each in sorted(names)])
        elif path == "category":
            path = f"category/r{self.run}xorders"
            names = frozenset({"orders-1", "orders-2", *self.derived})
            heads = True
        told = self.window(path, start, until, amount, kind, **query)
        numbers = expected_window(length, start, until, amount)
        found = [self.order[each - self.base - 1] for each in numbers if each > self.base]
        if path != "_all":
            held = {self.derived[each] for each in ("orders-derived",) if each in self.derived}
            found = [
                each for each in found if each.stream in names or (heads and each.kind in held)
            ]
        found = [each for each in found if kind in (None, each.kind)]
        documents = told.documents
        if numbers and min(numbers) <= self.base:  # it reached into the events of others
            mine = {self.real(each) for each in STREAMS}
            documents = [each for each in documents if each["stream"] in mine]
        self.check(documents, found)

    def window(
        self,
        path: str,
        start: int | str | None,
        until: int | str | None,
        amount: tuple[str, int] | None,
        kind: str | None,
        **query: str,
    ) -> Told:
        parts = [("from", start), ("until", until), amount or ("", None)]
        random.shuffle(parts)  # their order means nothing
        path = f"/streams/{path}" + "".join(
            f"/{word}/{value}" for word, value in parts if value is not None
        )
        if kind is not None:
            query["filter"] = json.dumps({"payload": {"type": self.kind(kind)}})
        return self.client.ask("GET", path, **query)

    @invariant()
    def lists_what_there_is(self) -> None:
        expected = {}
        for stream, log in self.logs.items():
            expected[self.real(stream)] = (len(log.events), log.closed, log.format, False)
        for stream, kind in self.derived.items():
            expected[self.name(stream)] = (len(self.of_kind(kind)), False, "ndjson", True)
        found = {}
        for prefix in (f"run{self.run}/", f"run{self.run}-", f"r{self.run}x"):
            for each in self.client.ask("GET", "/streams", prefix=prefix).json["streams"]:
                values = (each["version"], each["closed"], each["format"], each["derived"])
                found[each["stream"]] = values
        assert found == expected

    @invariant()
    def has_every_event_in_its_place(self) -> None:
        self.check(self.client.read(f"_all/from/{self.base + 1}"), self.order)

    # The end of the hub

    def may_end(self) -> bool:
        return self.ends < ENDS

    @precondition(may_end)
    @rule(how=st.sampled_from([HubProcess.restart, HubProcess.kill]))
    def end(self, how: Callable[[HubProcess], None]) -> None:
        self.ends += 1
        self.client.close()
        how(self.hub)
        if self.hub.process is None:
            self.hub.start()

    @precondition(may_end)
    @rule(stream=streams, events=some_events, delay=st.floats(0, 0.01))
    def crash_while_committing(
        self, stream: str, events: list[tuple[str, frozenset[str]]], delay: float
    ) -> None:
        """What was not answered is there whole, or not at all; what was answered is there."""
        self.ends += 1
        new = self.made(stream, events)
        answers: list[Told] = []

        def commit() -> None:
            with suppress(OSError, HTTPException):
                answers.append(self.client.commit(self.real(stream), *map(self.payload, new)))

        committing = threading.Thread(target=commit)
        committing.start()
        time.sleep(delay)
        self.client, other = Storing(self.hub), self.client
        self.hub.kill()
        committing.join()
        other.close()
        self.hub.start()
        after = self.client.read(f"_all/from/{self.base + 1}")[len(self.order) :]
        if answers:
            code = self.refusal(stream, None)
            if not self.expect(answers[0], code):
                assert not after
                return
            assert after
        if after:
            self.check(after, new)
            self.take_in(stream, "ndjson", new)
        elif stream not in self.logs:  # its file may have been made already
            told = self.client.ask("GET", f"/streams/{quote(self.real(stream), safe='')}/version")
            if told.status != 404:
                assert told.json["version"] == 0
                self.logs[stream] = Log("ndjson")


def expected_window(
    length: int,
    start: int | str | None,
    until: int | str | None,
    amount: tuple[str, int] | None,
) -> list[int]:
    """The numbers in a window of a stream that has `length` events, said as simply as can be."""

    def resolve(end: int | str) -> int:
        if type(end) is int:
            return end if end > 0 else length + 1 + end
        return 1 if end == "start" else length

    low = max(1, resolve("start" if start is None else start))
    high = resolve("end" if until is None else until)
    turned = start is not None and until is not None and 1 <= high < low <= length
    numbers = [each for each in range(1, length + 1) if min(low, high) <= each <= max(low, high)]
    if low > high and not turned:
        numbers = []
    if amount is None:
        return numbers[::-1] if turned else numbers
    direction, count = amount
    return numbers[:count] if direction == "forwards" else numbers[::-1][:count]


@pytest.fixture(params=["os", "always"])
def machine(run_hub: RunHub, request: pytest.FixtureRequest) -> type[Store]:
    Store.hub = run_hub("--durability", request.param)
    return Store


def test_against_a_model(machine: type[Store]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Phase.generate],  # a crash cannot be repeated
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert "Traceback" not in machine.hub.log
