"""Turns errors into answers: the one table from an error's class to its status."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
from aiohttp import web

from hub import errors

logger = logging.getLogger(__name__)

_STATUS: dict[type[errors.HubError], int] = {
    errors.InvalidRequest: 400,
    errors.Forbidden: 403,
    errors.UnknownStream: 404,
    errors.UnknownConsumer: 404,
    errors.TimedOut: 408,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.UnknownEncoding: 415,
    errors.InvalidEvent: 422,
    errors.TooManyConsumers: 429,
    errors.LogUnavailable: 503,
    errors.Busy: 503,
    errors.Closing: 503,
    errors.SandboxFailed: 503,
    errors.DiskFull: 507,
    errors.HubError: 500,
}


def status_of(error: errors.HubError) -> int:
    """The HTTP status for an error: that of its class, or of the nearest base that has one."""
    return next(_STATUS[each] for each in type(error).__mro__ if each in _STATUS)


def answer(
    status: int,
    message: str,
    code: str,
    headers: Mapping[str, str] | None = None,
    **details: object,
) -> web.Response:
    """The hub's one form of an error: `{"error": …, "code": …}`, perhaps with details."""
    # Of a header that is not UTF-8 there are half surrogate pairs in it, which JSON cannot hold.
    message = message.encode(errors="backslashreplace").decode()
    body = msgspec.json.encode({"error": message, "code": code, **details}) + b"\n"
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def failed(method: str, path: str, error: Exception) -> tuple[web.Response, str]:
    """The answer to any error, and its code; what was not on purpose is logged."""
    if isinstance(error, errors.HubError):
        return answer_to(error), error.code
    logger.error("%s %s failed", method, path, exc_info=error)
    return answer(500, "the hub made a mistake; its log says more", "internal"), "internal"


def answer_to(error: errors.HubError) -> web.Response:
    """The answer to an error that the hub raised on purpose."""
    again = isinstance(error, (errors.LogUnavailable, errors.Busy))
    if isinstance(error, errors.IndexFailed):
        again = False  # what was sent is stored: sent again, it would be there twice
    headers = {"Retry-After": "1"} if again else {}
    details = error.details if isinstance(error, errors.Conflict) else {}
    return answer(status_of(error), str(error), error.code, headers, **details)
