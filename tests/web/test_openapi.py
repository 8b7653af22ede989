"""The description of the hub's HTTP, held against its routes, errors, names and answers."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import make_mocked_request
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import hub.web
from hub import __version__, errors
from hub.engines.files import FilesEngine
from hub.errors import HubError, InvalidName, InvalidRequest
from hub.event import check_channel_name, check_stream_name
from hub.matcher import compile_matcher
from hub.options import Options
from hub.selector import parse_selector
from hub.web import streams
from hub.web.app import make_app
from hub.web.context import HUB
from hub.web.errors import status_of
from hub.window import WORDS
from tests.conftest import Client, StartHub
from tests.web.wire import NDJSON, TSV

WEB = Path(hub.web.__file__).parent
DESCRIPTION: dict[str, Any] = json.loads((WEB / "ui" / "openapi.json").read_text())
COMPONENTS = DESCRIPTION["components"]

OF_HTTP = {
    (400, "bad_request"),
    (404, "not_found"),
    (405, "method_not_allowed"),
    (417, "expectation_failed"),
    (500, "internal"),
}
"""Errors that are not in the tree: the doors find them before anything of the hub does."""

OF_EVERY_ANSWER = {"Date", "Server", "Content-Type", "Content-Length", "Transfer-Encoding"}
OF_CONNECTIONS = {"Connection", "Keep-Alive"}

SAMPLES = {
    "channel": "a-channel",
    "stream": "orders-1",
    "category": "orders",
    "source": "orders-1",
    "identifier": "one",
    "path": "index.html",
}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every path and method, with what is said of it."""
    for path, item in DESCRIPTION["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method.upper(), operation


def there(part: dict[str, Any]) -> dict[str, Any]:
    """A part, or what it refers to."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    found: dict[str, Any] = COMPONENTS[kind][name]
    return found


def filled(path: str) -> str:
    """A path with something in each of its places."""
    return re.sub(r"\{(\w+)\}", lambda each: SAMPLES.get(each[1], "1"), path)


def valid(schema: dict[str, Any], value: object) -> bool:
    return not list(faults(schema, value))


def faults(schema: dict[str, Any], value: object) -> Iterator[str]:
    """What is wrong with a value."""
    whole = {**schema, "components": COMPONENTS}
    validator = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
    yield from (each.message for each in validator.iter_errors(value))


def test_it_is_openapi_3_1() -> None:
    assert DESCRIPTION["openapi"].startswith("3.1.")
    assert [each.message for each in OpenAPIV31SpecValidator(DESCRIPTION).iter_errors()] == []
    assert DESCRIPTION["info"]["version"] == __version__
    for name, schema in COMPONENTS["schemas"].items():
        Draft202012Validator.check_schema(schema)
        for each in schema.get("examples", ()):
            assert valid(schema, each), name


def test_every_example_is_one() -> None:
    for path, method, operation in operations():
        for media_type, said in operation.get("requestBody", {}).get("content", {}).items():
            if "example" in said:
                assert valid(said["schema"], said["example"]), (path, method, media_type)


def test_operations_have_names_of_their_own_and_all_parts_are_used() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    text = json.dumps(DESCRIPTION)
    for kind in ("schemas", "parameters", "headers", "responses"):
        for name in COMPONENTS[kind]:
            used = f'"#/components/{kind}/{name}"' in text
            # What can come at every path stands in no operation.
            assert used or name == "MethodNotAllowed", (kind, name)


# Routes


def door_of(app: web.Application, method: str, path: str) -> str:
    """The function that answers."""
    request = make_mocked_request(method, path)
    found = asyncio.run(app.router.resolve(request))
    assert isinstance(found.handler, partial)
    door = found.handler.args[-1]
    return f"{door.__module__}.{door.__name__}"


def test_every_route_is_described_and_no_other(events: Path) -> None:
    app = make_app(Options(events=events), FilesEngine(events))
    described = {(method, door_of(app, method, filled(path))) for path, method, _ in operations()}
    routed = set()
    for route in app.router.routes():
        assert isinstance(route.handler, partial)
        door = route.handler.args[-1]
        routed.add((route.method, f"{door.__module__}.{door.__name__}"))
    assert routed - described == {("*", "hub.web.app._elsewhere")}
    assert described - routed == set()
    assert {filled(path) for path, _, _ in operations()} >= {
        resource.canonical for resource in app.router.resources() if "{" not in resource.canonical
    }


def test_every_get_is_a_head() -> None:
    for path, item in DESCRIPTION["paths"].items():
        assert ("get" in item) == ("head" in item), path


def test_every_word_behind_a_streams_name_is_described() -> None:
    words = set()
    for path in DESCRIPTION["paths"]:
        if path.startswith("/streams/{stream}/"):
            words |= set(re.findall(r"/([a-z]+)", path.removeprefix("/streams/{stream}")))
    assert words == set(streams._ACTIONS) | WORDS
    assert {"/streams/_all", "/streams/join", "/streams/category/{category}"} <= set(
        DESCRIPTION["paths"]
    )


# Parameters


def test_every_parameter_that_is_read_is_described_and_no_other() -> None:
    """The parameters of a query by the names that the doors ask for."""
    read = set()
    for file in WEB.glob("*.py"):
        tree = ast.parse(file.read_text())
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            read |= set(_asked_for(node, constants))
    described = {
        said["name"] for said in COMPONENTS["parameters"].values() if said["in"] == "query"
    }
    assert read == described


def _asked_for(node: ast.AST, constants: dict[str, ast.expr]) -> Iterator[str]:
    """The names in `query.get("a")`, `number_of(request, "a")`, `"a" in query`, `given["a"]`."""
    places = {"query", "given", "parameters"}

    def is_query(value: ast.expr) -> bool:
        name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
        return name in places

    found: list[ast.expr] = []
    if isinstance(node, ast.Call) and node.args:
        if isinstance(node.func, ast.Attribute) and is_query(node.func.value):
            found = node.args[:1]
        elif isinstance(node.func, ast.Name) and node.func.id in ("number_of", "check_one_of"):
            found = node.args[1:]
    elif isinstance(node, ast.Compare) and is_query(node.comparators[0]):
        found = [node.left]
    elif isinstance(node, ast.Subscript) and is_query(node.value):
        found = [node.slice]
    elif isinstance(node, ast.Name) and node.id == "_CURSORS":
        found = list(getattr(constants.get("_CURSORS"), "elts", ()))
    elif isinstance(node, ast.Name) and node.id == "FORMAT":
        found = [constants["FORMAT"]] if "FORMAT" in constants else []
    for each in found:
        value = each.value if isinstance(each, ast.Constant) else None
        if (
            isinstance(value, str) and value.isidentifier()
        ):  # not what a query's text is searched for
            yield value


def test_every_place_in_a_path_is_described() -> None:
    for path, item in DESCRIPTION["paths"].items():
        said = [there(each) for each in item.get("parameters", ())]
        assert [each["name"] for each in said] == re.findall(r"\{(\w+)\}", path)
        assert all(each["in"] == "path" for each in said)


NAMES = st.text(st.sampled_from("abAB09_-/:@~+=#. é\n%"), max_size=8)
LONG = st.builds("{}{}".format, NAMES, st.sampled_from(["a" * 60, "a" * 64, "a" * 196, "x" * 200]))


@given(NAMES | LONG)
@example("streams")
@example("_all")
@example("_a1b")
@example("health\n")
def test_names_of_channels(name: str) -> None:
    try:
        check_channel_name(name)
    except InvalidName:
        assert not valid(COMPONENTS["schemas"]["ChannelName"], name) or name.endswith("\n")
    else:
        assert valid(COMPONENTS["schemas"]["ChannelName"], name)


@given(NAMES | LONG)
def test_names_of_streams(name: str) -> None:
    try:
        check_stream_name(name)
    except InvalidName as error:
        too_long = "file" in str(error)  # for the file system, once it is encoded
        assert too_long or not valid(COMPONENTS["schemas"]["StreamName"], name) or "\n" in name
    else:
        assert valid(COMPONENTS["schemas"]["StreamName"], name)


SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab$", max_size=3)
KEYS = st.sampled_from(
    [
        "a",
        "b",
        "stream",
        "payload",
        "metadata",
        "$eq",
        "$ne",
        "$gt",
        "$lte",
        "$has",
        "$hasAny",
        "$x",
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, VALUES, max_size=2) | VALUES)
@example({"payload": {"a": {"$hasAny": []}}})
@example({"payload": [{"a": 1}, {"$ne": {}}]})
@example({"stream": {"$eq": "a"}})
@example({"stream": {}})
@example({"payload": {"$has": 1}})
@example({"payload": {"a": [[1]]}})
def test_matchers(spec: object) -> None:
    try:
        compile_matcher(spec)
    except InvalidRequest:
        assert not valid({"$ref": "#/components/schemas/Matcher"}, spec)
    else:
        assert valid({"$ref": "#/components/schemas/Matcher"}, spec)


@given(st.recursive(st.text("ab/", max_size=3) | st.none(), st.lists, max_leaves=6))
def test_selectors(spec: object) -> None:
    try:
        parse_selector(spec, allow_all=True)
    except InvalidRequest as error:
        deep = "deeper" in str(error)
        assert deep or not valid({"$ref": "#/components/schemas/Selector"}, spec)
    else:
        assert valid({"$ref": "#/components/schemas/Selector"}, spec)


# Errors


def errors_of(response: dict[str, Any]) -> set[str]:
    """The codes that a described answer can have; empty if it is no error."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    for part in schema.get("allOf", ()):
        if "properties" in part:
            return set(part["properties"]["code"]["enum"])
    return set()


def test_every_error_has_its_status_and_no_other() -> None:
    described = {(405, code) for code in errors_of(COMPONENTS["responses"]["MethodNotAllowed"])}
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            described |= {(int(status), code) for code in errors_of(there(response))}
    raised = {
        (status_of(each("why")), each.code)
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, HubError)
        and each not in (HubError, errors.Conflict, errors.LogUnavailable)
        and not issubclass(each, errors.StartupError)
    }
    raised |= {(409, "conflict"), (503, "log_unavailable")}
    assert described == raised | OF_HTTP


# Answers


class Asker:
    """Asks a hub, and holds each answer against what is said of the operation."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: set[tuple[str, int]] = set()
        self._all = {
            operation["operationId"]: (path, method, operation)
            for path, method, operation in operations()
        }

    async def ask(self, name: str, status: int, /, path: str = "", **request: Any) -> Any:
        """Ask; check that the answer has this status, and is as described."""
        described, method, operation = self._all[name]
        url = f"{filled(described)}{path}" if path.startswith("?") else path or filled(described)
        self.check_request(operation, request)
        headers = {"Accept-Encoding": "identity", **request.pop("headers", {})}
        async with self.client.request(
            method, url, headers=headers, allow_redirects=False, **request
        ) as answer:
            live = answer.content_type == "text/event-stream"
            body = await answer.content.readline() if live else await answer.read()
        assert answer.status == status, (name, body)
        self.seen.add((name, status))
        said = (
            operation["responses"].get(str(status)) or operation["responses"][f"{status // 100}XX"]
        )
        self.check(method, there(said), answer, body)
        return json.loads(body) if answer.content_type == "application/json" and body else body

    def check_request(self, operation: dict[str, Any], request: dict[str, Any]) -> None:
        """What is sent to be accepted is as described, too."""
        names = {there(each)["name"] for each in operation.get("parameters", ())}
        known = {"Accept", "Content-Type", "Origin", "Expect"}
        assert set(request.get("headers", {})) <= names | known
        assert set(request.get("params", {})) <= names

    def check(self, method: str, said: dict[str, Any], answer: ClientResponse, body: bytes) -> None:
        if method == "HEAD":
            assert body == b""
            return
        headers = said.get("headers", {})
        known = {each.lower() for each in OF_EVERY_ANSWER | OF_CONNECTIONS | set(headers)}
        assert {each.lower() for each in answer.headers} <= known
        for name, part in headers.items():
            header = there(part)
            if name in answer.headers:
                value: Any = answer.headers[name]
                value = int(value) if header["schema"].get("type") == "integer" else value
                assert valid(header["schema"], value), name
            else:
                assert not header.get("required"), name
        if not body:
            return
        content = said["content"].get(answer.content_type) or said["content"].get("*/*")
        assert content is not None, answer.content_type
        if answer.content_type == "application/json":
            assert list(faults(content.get("schema", {}), json.loads(body))) == []
        lines = there(content.get("schema", {})).get("x-line-schema")
        if lines and answer.content_type == "application/x-ndjson":
            for line in body.split(b"\n")[:-1]:
                assert list(faults(lines, json.loads(line))) == []


async def test_answers_are_as_described(start_hub: StartHub) -> None:
    hub = await start_hub(read_timeout=0.05, max_event_bytes=10_000, max_consumers=2)
    asker = Asker(hub)
    ask = asker.ask
    html = {"Accept": "text/html"}
    live = {"Accept": "text/event-stream"}
    stranger = {"Origin": "https://example.com"}

    # Channels
    assert b"2026" not in await ask("readChannel", 200)
    first = await ask("writeChannel", 201, data=b"data", params={"event": "type"})
    await ask("writeChannel", 201, data=b"\t\ta\nx\ty\tb\n", headers=TSV)
    await ask("writeChannel", 201, data=b'{"a":1}\n', headers=NDJSON, params={"id": "own"})
    await ask("writeChannel", 200, data=b"", headers=NDJSON)
    await ask("writeChannel", 400, data=b"", headers=TSV, params={"event": "a"})
    await ask("writeChannel", 400, path="/ab", data=b"x")
    await ask("writeChannel", 403, data=b"x", headers=stranger)
    await ask("writeChannel", 413, data=b"x" * 10_001)
    await ask("writeChannel", 415, data=b"x", headers={"Content-Encoding": "x"})
    await ask("writeChannel", 417, data=b"x", headers={"Expect": "x"})
    await ask("writeChannel", 422, data=b"\0")
    await ask("readChannel", 200)
    await ask("readChannel", 200, headers=html)
    await ask("readChannel", 200, headers=live, params={"since": "start"})
    await ask("readChannel", 200, headers={**live, "Last-Event-ID": "unknown"})
    await ask("readChannel", 200, params={"format": "ndjson", "event": "type"})
    await ask("readChannel", 200, params={"since": first.decode(), "until": "own", "tail": "1"})
    await ask("readChannel", 200, headers={"Accept-Encoding": "gzip"}, params={"limit": "1"})
    await ask("readChannel", 206, headers={"Range": "bytes=3-9"})
    tag = hub_tag(await hub.get("/a-channel", headers={"Accept-Encoding": "identity"}))
    await ask("readChannel", 304, headers={"If-None-Match": tag})
    await ask("readChannel", 400, params={"tail": "1", "limit": "1"})
    await ask("readChannel", 416, headers={"Range": "bytes=99999-"})
    await ask("readChannel", 422, params={"since": "nobody"})
    await ask("headChannel", 200)
    await ask("makeChannel", 201, path="/b-channel", params={"format": "ndjson"})
    await ask("makeChannel", 200, path="/b-channel", params={"format": "ndjson"})
    await ask("makeChannel", 400, params={"format": "x"})
    await ask("makeChannel", 409, path="/b-channel")

    # Streams
    body = {"events": [{"type": "A", "tags": ["x"]}, {"type": "B"}], "metadata": {"by": "me"}}
    await ask("commit", 201, json={**body, "expectedVersion": "empty"})
    await ask("commit", 400, json={})
    await ask("commit", 409, json={**body, "expectedVersion": 7})
    await ask("commit", 409, json={**body, "condition": {"types": ["A"], "noneMatchAfter": 0}})
    await ask("commit", 409, path="/streams/a-channel/commit", json=body)
    await ask("commit", 413, json={"events": [{"a": "x" * 10_001}]})
    await ask("commit", 422, json={"events": [1]})
    for name in ("readStream", "readAll", "readCategory"):
        await ask(name, 200)
        await ask(name, 200, headers=html)
        await ask(name, 200, headers=live)
        await ask(name, 400, params={"filter": "x"})
    await ask("readStream", 404, path="/streams/nobody")
    await ask("readJoin", 200, params={"streams": "orders-1,a-channel"})
    await ask("readJoin", 200, params={"selector": '["orders-1",["A","B"]]'}, headers=live)
    await ask("readJoin", 400)
    for name in (
        "readFrom",
        "readUntil",
        "readForwards",
        "readBackwards",
        "readFromUntil",
        "readFromForwards",
        "readUntilBackwards",
    ):
        await ask(name, 200, params={"filter": '{"payload":{"type":"A"}}'})
        await ask(f"head{name[0].upper()}{name[1:]}", 200)
    await ask("readFrom", 400, path="/streams/orders-1/from/0")
    await ask("readFromUntil", 408, path="/streams/orders-1/from/3/until/9")
    await ask("readFrom", 404, path="/streams/nobody/from/1")
    await ask("streamVersion", 200)
    await ask("streamVersion", 404, path="/streams/nobody/version")
    matcher = {"payload": {"type": "A"}}
    await ask("defineStream", 201, path="/streams/only-a", json=matcher)
    await ask("defineStream", 200, path="/streams/only-a", json={"matcher": matcher})
    await ask("defineStream", 400, path="/streams/only-b", json={"a": 1})
    await ask("defineStream", 409, json=matcher)
    await ask("listStreams", 200)
    await ask("listStreams", 200, headers=html)
    tag = hub_tag(await hub.get("/streams", headers={"Accept-Encoding": "identity"}))
    await ask("listStreams", 304, headers={"If-None-Match": tag})
    await ask("listStreams", 400, params={"limit": "x"})
    await ask("writeChannel", 409, path="/only-a", data=b"x")
    await ask("removeStream", 204, path="/streams/only-a")
    await ask("removeStream", 404, path="/streams/only-a")
    await ask("removeStream", 409)
    await ask("closeStream", 200, path="/streams/a-channel/close")
    await ask("closeStream", 404, path="/streams/nobody/close")

    # Queries
    await ask("query", 200, params={"types": "A,B"})
    await ask("query", 200, params={"query": '{"items":[{"tags":["x"]}]}'})
    await ask("query", 200, params={"selector": '"A"'}, headers=live)
    await ask("query", 400)
    await ask("queryFrom", 200, params={"types": "A"})
    await ask("queryFrom", 404, path="/query/until/1", params={"types": "A"})

    # Consumers
    handler = {"handler": "(event, state) => ({n: (state.n ?? 0) + 1})"}
    await ask("putConsumer", 201, json=handler)
    await ask("putConsumer", 200, json={**handler, "state": {"n": 1}})
    await ask("putConsumer", 400, json={"handler": "no"})
    await ask("putConsumer", 404, path="/consumers/two/stream/nobody", json=handler)
    throws = {"handler": "() => { throw 1 }"}
    await ask("putConsumerFrom", 201, path="/consumers/two/stream/_all/from/start", json=throws)
    await ask("putConsumer", 429, path="/consumers/three/stream/_all", json=handler)
    await ask("untilConsumer", 200)
    await ask("untilConsumer", 408, path="/consumers/one/until/99")
    await ask("untilConsumer", 404, path="/consumers/nobody/until/1")
    await ask("afterConsumer", 200, path="/consumers/one/after/0")
    await ask("afterConsumer", 400, path="/consumers/one/after/x")
    await ask("readConsumer", 200)
    await ask("readConsumer", 200, headers=html)
    await ask("readConsumer", 200, headers=live)
    await ask("readConsumer", 404, path="/consumers/nobody")
    await ask("untilConsumer", 408, path="/consumers/two/until/99")
    assert (await ask("readConsumer", 200, path="/consumers/two"))["status"] == "stopped"
    await ask("listConsumers", 200)
    await ask("listConsumers", 200, headers=html)
    await ask("resetConsumer", 200, json={"from": "end"})
    await ask("resetConsumer", 200)
    await ask("resetConsumer", 400, json={"from": -1})
    await ask("resetConsumer", 404, path="/consumers/nobody/reset")
    await ask("removeConsumer", 204)
    await ask("removeConsumer", 404)

    # The rest
    await ask("welcome", 200)
    await ask("welcome", 200, headers=html)
    await ask("pageIsElsewhere", 308)
    await ask("pageIsElsewhere2", 308)
    await ask("getAsset", 200)
    await ask("getAsset", 404, path="/ui/nothing.js")
    await ask("getIcon", 200)
    await ask("health", 200)
    await ask("metrics", 200)
    for name in asker._all:
        if name.startswith("head") and not any(seen == name for seen, _ in asker.seen):
            status = 308 if "Elsewhere" in name else 404 if "Consumer" in name else 200
            query = {"headQuery": "?types=A", "headQueryFrom": "?types=A", "headJoin": "?streams=a"}
            status = 200 if name == "headConsumers" else status
            await ask(name, status, path=query.get(name, ""))
    assert {name for name, _ in asker.seen} == set(asker._all)

    await ask("commit", 409, json=body, path="/streams/a-channel/commit")
    hub.app[HUB].subscriptions.close()
    await ask("health", 503)


def hub_tag(answer: ClientResponse) -> str:
    return answer.headers["ETag"]
