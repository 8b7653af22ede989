"""What is no HTTP is answered in the hub's form of an error, and logged in no more than a line."""

from __future__ import annotations

import logging

import msgspec
import pytest

from tests.conftest import Client
from tests.web.test_app import MALFORMED
from tests.web.wire import exchange


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_http_is_told_so_as_json(hub: Client, name: str) -> None:
    answer = await exchange(hub, MALFORMED[name])
    assert answer.headers["Content-Type"] == "application/json"
    assert msgspec.json.decode(answer.body).keys() == {"error", "code"}


async def test_what_is_no_http_is_one_line_of_log(
    hub: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await exchange(hub, MALFORMED["version"])
    assert "Traceback" not in caplog.text
    assert caplog.text.count("\n") <= 1
