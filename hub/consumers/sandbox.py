"""The sandbox: one handler and its state in a JavaScript engine (QuickJS).

Owns what a handler can see and how much it may take. It runs in a process of its
own (`hub.consumers.worker`): what the engine cannot interrupt, a search of long
text in long text, is ended by the system there. `sandbox.js` is the
other half.

A handler is called for each event as `(event, state, metadata)` and returns the
next state; if it returns `undefined` the state object stays, so that it may also be
changed in place. There is no I/O, no clock and no chance. Nothing lasts between
batches but what the state says as JSON: variables outside of it are lost.
Numbers are those of JavaScript: integers beyond 2^53 lose digits.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import quickjs  # type: ignore[import-untyped]  # it has no types

from hub.consumers.messages import Fault, Limits, Why

STACK_BYTES = 512 * 1024
"""Stack that a handler may use; the process has 8 MiB."""

LOOKED_AT = 200
"""Characters of a handler in which its parameters are looked for."""

MARGIN = 200
"""Levels by which a state must be less deep than what could just be read here."""

TEXT = 500
"""Characters of an error that are told."""

_SCRIPT = Path(__file__).with_suffix(".js").read_text()
_INTERRUPTED = "InternalError: interrupted"
_NO_MEMORY = ("InternalError: out of memory", "null")  # null: not even room to say so
# A frame of the handler; those of the script that call it are called `fold` and come behind.
_LINE = re.compile(r"^    at (?!refuse )\S* ?\(?<input>:(\d+)", re.MULTILINE)
_CALLER = "    at fold (<input>:"
# The source of an arrow function that takes at most two plain parameters. It has no
# `arguments`, so it cannot see a third.
_TWO_PARAMETERS = re.compile(r"\s*(\(\s*([\w$]+\s*(,\s*[\w$]+\s*)?,?)?\s*\)|[\w$]+)\s*=>", re.ASCII)


class _Payload(msgspec.Struct, gc=False):
    payload: msgspec.Raw


_payloads_of = msgspec.json.Decoder(list[_Payload]).decode


class Failed(Exception):
    """The handler did not do; the sandbox is of no more use."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


class Sandbox:
    """One handler with its state. To be used in the thread that made it."""

    def __init__(self, handler: str, state: bytes, limits: Limits) -> None:
        """Read the handler. Raises `Failed` if it is no function, or the state is too much."""
        self._limits = limits
        self._context = quickjs.Context()
        self._context.set_max_stack_size(STACK_BYTES)
        self._run: Any = self._context.eval(_SCRIPT)
        self._context.set_memory_limit(limits.memory)
        self._context.set_time_limit(limits.seconds)
        self.state = self._do("load", handler, state.decode())
        self._whole = self._sees_metadata()
        self._run("whole", self._whole)

    def fold(self, batch: bytes | memoryview) -> bytes:
        """Fold documents, given as one JSON array; return the state. Raises `Failed`."""
        if not self._whole:
            try:
                batch = b"[" + b",".join([each.payload for each in _payloads_of(batch)]) + b"]"
            except (msgspec.DecodeError, RecursionError):
                # Half of a surrogate pair or a great depth: the engine may take it.
                self._whole = True
                self._run("whole", True)
        self.state = self._do("fold", str(batch, "utf-8"))
        return self.state

    def _sees_metadata(self) -> bool:
        """Whether events are parsed whole, which is most of the work, or their payloads only."""
        try:
            return not _TWO_PARAMETERS.match(self._run("source", LOOKED_AT))
        except quickjs.JSException as error:
            raise Failed(self._fault(str(error).partition("\n")[0], "")) from None

    def _do(self, operation: str, *texts: str) -> bytes:
        try:
            state = self._run(operation, *texts)
        except quickjs.JSException as error:  # of those, the ones that no script can catch
            raise Failed(self._fault(str(error).partition("\n")[0], "")) from None
        if state is None:
            raise Failed(self._caught())
        encoded: bytes = state.encode()
        if len(encoded) > self._limits.state:
            size, limit = len(encoded), self._limits.state
            raise Failed(Fault(Why.STATE, f"the state has {size} bytes; the limit is {limit}"))
        _check_readable(encoded)
        return encoded

    def _caught(self) -> Fault:
        """What the script caught, told by it: for that it gets more time and memory."""
        self._context.set_memory_limit(2 * self._limits.memory)
        try:
            text, stack = msgspec.json.decode(self._run("described"), type=tuple[str, str])
        except (quickjs.JSException, msgspec.DecodeError, TypeError):
            return self._fault("it threw what cannot be told", "")
        return self._fault(text, stack)

    def _fault(self, text: str, stack: str) -> Fault:
        limits = self._limits
        if text.startswith(_INTERRUPTED):
            why, text = Why.TIME, f"it took longer than {limits.seconds:g} s of a processor"
        elif text.startswith(_NO_MEMORY):
            why, text = Why.MEMORY, f"it took more than {limits.memory} bytes of memory"
        elif self._run("thrown"):
            why = Why.THROWN
            if line := _LINE.search(stack.rpartition(_CALLER)[0]):
                text += f" (line {line[1]})"
        else:
            why = Why.STATE
        at = self._run("at")
        return Fault(why, text[:TEXT], 0 if why is Why.STATE else at + 1)


def _check_readable(state: bytes) -> None:
    """Raise `Failed` if the hub could not read a state again, from where it is kept."""
    try:
        msgspec.json.decode(b"[" * MARGIN + state + b"]" * MARGIN, type=msgspec.Raw)
    except RecursionError:
        text = "the state is nested too deeply"
    except msgspec.DecodeError:
        text = "the state holds half of a surrogate pair, which is no text"
    else:
        return
    raise Failed(Fault(Why.STATE, text))
