"""From answers to errors: the same classes as on the hub."""

from __future__ import annotations

import msgspec
import pytest

import hub.errors
from hub import client
from hub.client import errors
from hub.client.errors import error_of
from hub.errors import HubError, InvalidEvent, VersionConflict
from hub.web.errors import answer_to, status_of

_KINDS = [
    each
    for each in vars(hub.errors).values()
    if isinstance(each, type) and issubclass(each, HubError)
]


@pytest.mark.parametrize("kind", _KINDS)
def test_each_error_of_the_hub_comes_out_as_it_went_in(kind: type[HubError]) -> None:
    sent = kind("a sentence")
    answer = answer_to(sent)
    found = error_of(answer.status, bytes(answer.body), "GET http://x")  # type: ignore[arg-type]
    assert type(found) is kind
    assert (str(found), found.code, found.status) == ("a sentence", kind.code, status_of(sent))


def test_its_details_and_lines_come_too() -> None:
    body = msgspec.json.encode(
        {"error": "e", "code": "version_conflict", "expected": 1, "actual": 2}
    )
    found = error_of(409, body, "")
    assert isinstance(found, VersionConflict)
    assert found.details == {"expected": 1, "actual": 2}
    found = error_of(422, b'{"error": "line 7: it is bad", "code": "invalid_event"}', "")
    assert isinstance(found, InvalidEvent)
    assert (found.line, found.reason, str(found)) == (7, "it is bad", "line 7: it is bad")


def test_the_errors_of_the_client_are_drawn_and_exported() -> None:
    own = {
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and each.__module__ == errors.__name__
    }
    drawn = {line.split()[1] for line in (errors.__doc__ or "").split("\n") if "── " in line}
    assert own == drawn
    assert own <= set(client.__all__)
    codes = [getattr(errors, name).code for name in own] + [each.code for each in _KINDS]
    assert len(set(codes)) == len(codes)


def test_every_error_of_a_hub_that_a_client_may_meet_is_exported() -> None:
    of_the_hub_alone = {"StartupError", "DirectoryLocked", "SandboxFailed", "UnknownEncoding"}
    names = {each.__name__ for each in _KINDS} - of_the_hub_alone
    assert names <= set(client.__all__)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"<html>\n a  b</html>", b"[" * 9999])
def test_any_answer_is_an_error_of_bounded_length(body: bytes) -> None:
    found = error_of(500, body, "GET http://x")
    assert isinstance(found, errors.UnexpectedAnswer)
    assert str(found).startswith("GET http://x was answered with status 500")
    assert len(str(found)) < 300
