"""Reducers: what an expression on the command line makes of a state and events.

Owns how an expression is read, in JavaScript and in Python, and what an event is to
it: to JavaScript what it is on the hub's page, to Python what it is to `hub.client`.
JavaScript runs in the sandbox of consumers; Python is the user's own code on the
user's own machine, and may do anything.
"""

from __future__ import annotations

import collections
import datetime
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from hub.errors import HubError
from hub.formats import LINE_BREAK

JS, PYTHON = "js", "python"

SECONDS = 2.0
"""Of a processor, for a batch of JavaScript: what consumers have."""

MEMORY_BYTES = 1024 * 1024 * 1024
STATE_BYTES = 256 * 1024 * 1024

BATCH = 1000
"""Events that are folded at once."""

_NAMES = {each.__name__: each for each in (collections, datetime, json, math, re)}

_WRITTEN_IN_JS = re.compile(r"\s*function\b|(?!\s*lambda\b)[^'\"]*?=>")

# The expression comes first, so that the lines of errors are its own.
_WRAPPER = """[(%s
)].map((reduce) => {
  if (typeof reduce !== "function") throw new TypeError("it is no function (state, event) => …");
  const { parse, stringify } = JSON;
  const { parse: timeOf } = Date;
  const read = (text) => { try { return parse(text); } catch { return undefined; } };
  const ofChannel = {
    get json() { return read(this.data); },
    get time() { return timeOf(this.id); },
  };
  const ofStream = {
    get id() { return String(this.metadata.streamVersion + 1); },
    get type() { const { type } = this.json; return typeof type === "string" ? type : ""; },
    get data() { return stringify(this.json); },
    get time() { return this.metadata.committedAt ?? timeOf(this.metadata.id); },
  };
  const known = (event) => Object.setPrototypeOf(event, event.metadata ? ofStream : ofChannel);
  return (event, state) => reduce(state, known(event));
})[0]"""


class Wrong(HubError):
    """The expression does not do; the message says why, and at which event."""

    code = "wrong_expression"


class Reducer(ABC):
    """An expression, and its state."""

    @abstractmethod
    def fold(self, rows: Sequence[bytes]) -> None:
        """Fold lines of a channel. Raises `Wrong`."""

    @abstractmethod
    def state(self) -> bytes:
        """The state as JSON. Raises `Wrong`."""


def language_of(expression: str) -> str:
    """The language that an expression seems to be written in."""
    return JS if _WRITTEN_IN_JS.match(expression) else PYTHON


def make_reducer(expression: str, language: str, initial: str, *, documents: bool) -> Reducer:
    """Read an expression; `initial` is JSON. `documents`: whether lines are documents, not rows.

    Raises `Wrong`.
    """
    try:
        msgspec.json.decode(initial)
    except msgspec.DecodeError as error:
        raise Wrong(f"the initial state is not JSON: {error}") from None
    kind = InJavaScript if language == JS else InPython
    return kind(expression, initial, documents=documents)


class InJavaScript(Reducer):
    """`(state, event) => …`; what returns nothing has changed the state in place."""

    def __init__(self, expression: str, initial: str, *, documents: bool) -> None:
        from hub.consumers.messages import Limits
        from hub.consumers.sandbox import Failed, Sandbox

        self._failed = Failed
        self._documents = documents
        try:
            self._sandbox = Sandbox(
                _WRAPPER % expression, initial.encode(), Limits(SECONDS, MEMORY_BYTES, STATE_BYTES)
            )
        except Failed as error:
            raise Wrong(f"the expression does not do: {error}") from None

    def fold(self, rows: Sequence[bytes]) -> None:
        event = _documents_as_js if self._documents else _row_as_js
        for at in range(0, len(rows), BATCH):
            batch = rows[at : at + BATCH]
            try:
                self._sandbox.fold(b"[" + b",".join([event(row) for row in batch]) + b"]")
            except self._failed as error:
                place = at + max(1, error.fault.at) - 1
                raise Wrong(f"{_name(rows[place], self._documents)}: {error}") from None

    def state(self) -> bytes:
        return self._sandbox.state


def _row_as_js(row: bytes) -> bytes:
    identity, kind, data = row.replace(LINE_BREAK, b"\n").decode().split("\t", 2)
    event = msgspec.json.encode({"id": identity, "type": kind, "data": data})
    return b'{"payload":' + event + b"}"


class _Parts(msgspec.Struct):
    stream: str
    payload: msgspec.Raw
    metadata: msgspec.Raw


def _documents_as_js(line: bytes) -> bytes:
    parts = msgspec.json.decode(line, type=_Parts)
    event = {
        "stream": parts.stream,
        "json": parts.payload,
        "metadata": parts.metadata,
        "text": line.decode(),
    }
    return b'{"payload":' + msgspec.json.encode(event) + b"}"


class InPython(Reducer):
    """`lambda state, event: …`, or an expression of `state` and `event`."""

    def __init__(self, expression: str, initial: str, *, documents: bool) -> None:
        from hub.client.lines import documents_of, events_of

        self._documents = documents
        self._events: Callable[[bytes], Sequence[Any]] = documents_of if documents else events_of
        self._state = msgspec.json.decode(initial)
        try:
            code = compile(expression.strip(), "<expression>", "eval")
        except (SyntaxError, ValueError) as error:
            raise Wrong(f"the expression is no Python: {error}") from None
        text = expression.strip()
        if set(code.co_names) & {"state", "event"}:
            text = f"lambda state, event: ({text}\n)"
        try:
            self._reduce: Callable[[Any, Any], Any] = eval(text, dict(_NAMES))  # noqa: S307
        except Exception as error:
            raise Wrong(f"the expression does not do: {_told(error)}") from None
        if not callable(self._reduce):
            raise Wrong("the expression uses neither state nor event, and is no function")

    def fold(self, rows: Sequence[bytes]) -> None:
        events = self._events(b"".join([row + b"\n" for row in rows]))
        for row, event in zip(rows, events, strict=True):
            try:
                self._state = self._reduce(self._state, event)
            except Exception as error:
                raise Wrong(f"{_name(row, self._documents)}: {_told(error)}") from error

    def state(self) -> bytes:
        try:
            return msgspec.json.encode(self._state)
        except (TypeError, ValueError, RecursionError) as error:
            raise Wrong(f"the state cannot be written as JSON: {error}") from None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _name(row: bytes, documents: bool) -> str:
    if documents:
        identity = msgspec.json.decode(row)["metadata"]["id"]
    else:
        identity = row.partition(b"\t")[0].decode()
    return f"at event {identity}"
