"""Errors and their statuses."""

from __future__ import annotations

import inspect

import msgspec
import pytest

import hub.errors
from hub.errors import HubError
from hub.web.errors import answer, answer_to, status_of

STATUSES = {
    "HubError": 500,
    "InvalidRequest": 400,
    "InvalidName": 400,
    "UnknownEncoding": 415,
    "InvalidHandler": 400,
    "InvalidEvent": 422,
    "UnknownId": 422,
    "UnknownStream": 404,
    "Conflict": 409,
    "VersionConflict": 409,
    "ConditionConflict": 409,
    "NameTaken": 409,
    "StreamClosed": 409,
    "FormatConflict": 409,
    "TimedOut": 408,
    "TooLarge": 413,
    "Forbidden": 403,
    "Busy": 503,
    "Closing": 503,
    "UnknownConsumer": 404,
    "TooManyConsumers": 429,
    "SandboxFailed": 503,
    "LogUnavailable": 503,
    "ReadFailed": 503,
    "DiskFull": 507,
    "WriteFailed": 503,
    "LogDamaged": 503,
    "IndexFailed": 503,
    "StartupError": 500,
    "DirectoryLocked": 500,
}


def test_every_error_has_a_status() -> None:
    actual = {
        name: status_of(each("reason"))
        for name, each in vars(hub.errors).items()
        if inspect.isclass(each) and issubclass(each, HubError)
    }
    assert actual == STATUSES


def test_the_form_of_an_error() -> None:
    response = answer(418, 'a "word" ä', "teapot", {"Allow": "GET"}, cups=2)
    assert (response.status, response.content_type) == (418, "application/json")
    assert response.headers["Allow"] == "GET"
    assert isinstance(response.body, bytes)
    assert response.body == '{"error":"a \\"word\\" ä","code":"teapot","cups":2}\n'.encode()


def test_an_error_may_quote_what_is_not_text() -> None:
    response = answer(417, "is '\udc80ü' known?", "expectation_failed")
    told = r"""{"error":"is '\\udc80ü' known?","code":"expectation_failed"}"""
    assert response.body == f"{told}\n".encode()


@pytest.mark.parametrize("name", list(STATUSES))
def test_each_error_as_an_answer(name: str) -> None:
    error = getattr(hub.errors, name)("it is so")
    response = answer_to(error)
    assert response.status == STATUSES[name]
    assert isinstance(response.body, bytes)
    assert msgspec.json.decode(response.body) == {"error": "it is so", "code": error.code}
    again = isinstance(error, (hub.errors.LogUnavailable, hub.errors.Busy))
    # With a failed index the events are stored: sent again, they would be there twice.
    again = again and not isinstance(error, hub.errors.IndexFailed)
    assert ("Retry-After" in response.headers) == again


def test_a_conflict_says_what_is_expected_and_what_is() -> None:
    response = answer_to(hub.errors.VersionConflict("no", expected=3, actual=4))
    assert isinstance(response.body, bytes)
    told = {"error": "no", "code": "version_conflict", "expected": 3, "actual": 4}
    assert msgspec.json.decode(response.body) == told
