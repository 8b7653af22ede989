"""Errors that only a client can meet, and the way from an answer to an error.

An answer of the hub becomes the error of `hub.errors` that has its `code`, so that
`except VersionConflict` means the same on both sides; `status` is set on it. Beside
those, a client may raise:

    HubError
    ├── Unreachable        no connection: nothing was sent
    ├── Disconnected       the connection broke: what was sent may have been done
    ├── UnexpectedAnswer   an answer that no error of the hub describes, of a proxy perhaps
    ├── ClientClosed       this `Hub` was closed
    ├── InvalidFile        a file of a client's place or state is not what it should be
    └── HandlerFailed      a handler raised, again and again

It must not know sockets: who asks is `connection`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from hub import errors
from hub.errors import Conflict, HubError, InvalidEvent
from hub.event import Event

_SHOWN = 200  # characters of an answer in a message
_LINE = re.compile(r"line (\d{1,18}): (.*)", re.DOTALL)


class Unreachable(HubError):
    """No connection to the hub came about; nothing was sent."""

    code = "unreachable"


class Disconnected(HubError):
    """The connection broke, or nothing came on it for too long.

    Whether the hub has done what was asked is not known.
    """

    code = "disconnected"


class UnexpectedAnswer(HubError):
    """An answer that is no event, and no error that the client knows; `code` is the answer's."""

    code = "unexpected_answer"


class ClientClosed(HubError):
    """This `Hub` was closed; make another one."""

    code = "client_closed"


class InvalidFile(HubError):
    """A file that keeps a place, or a state, is not what it should be."""

    code = "invalid_file"


class HandlerFailed(HubError):
    """A handler raised at an event as often as it was tried; `__cause__` is the last error."""

    code = "handler_failed"

    def __init__(self, message: str, channel: str, event: Event) -> None:
        super().__init__(message)
        self.channel = channel
        self.event = event


def _tree(root: type[HubError]) -> dict[str, type[HubError]]:
    found = {root.code: root}
    for each in root.__subclasses__():
        if each.__module__ == errors.__name__:
            found |= _tree(each)
    return found


_CLASSES = _tree(HubError)


def error_of(status: int, body: bytes, what: str) -> HubError:
    """The error that an answer tells of; `what` names the request, as `GET http://…`."""
    told = _told(body)
    message, code = told.pop("error", None), told.pop("code", None)
    if not isinstance(message, str) or not isinstance(code, str):
        text = " ".join(body[: 2 * _SHOWN].decode(errors="replace").split())[:_SHOWN]
        error: HubError = UnexpectedAnswer(
            f"{what} was answered with status {status}" + (f": {text}" if text else "")
        )
    elif code not in _CLASSES:
        error = UnexpectedAnswer(message)
        error.code = code
    else:
        error = _make(_CLASSES[code], message, told)
    error.status = status
    return error


def endless(status: int, reason: str) -> UnexpectedAnswer:
    """The error for an answer of which a part has no end: another try would be the same."""
    error = UnexpectedAnswer(f"no hub answers so: {reason}")
    error.status = status
    return error


def _told(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _make(kind: type[HubError], message: str, details: dict[str, Any]) -> HubError:
    if issubclass(kind, Conflict):
        return kind(message, **details)
    if issubclass(kind, InvalidEvent) and (line := _LINE.fullmatch(message)):
        return kind(line[2], int(line[1]))
    return kind(message)
