"""The real parts that some tests need: skipped without them on your machine, failed in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

CLIENTS = Path(__file__).parent / "clients"
"""The JavaScript clients, with what npm installed for them."""

_PACKAGES = {"chromium": "chromium", "node": "nodejs and npm"}


def require(command: str) -> str:
    """The path of a program; without it the test is skipped, or fails in CI."""
    found = shutil.which(command)
    if found is None:
        missing(f"there is no {command} here: install Debian's {_PACKAGES.get(command, command)}")
    return found


def require_clients() -> str:
    """The path of Node.js, if the JavaScript clients are installed."""
    node = require("node")
    if not (CLIENTS / "node_modules" / "eventsource").is_dir():
        missing("the JavaScript clients are not installed: 'make test' does it")
    return node


def missing(reason: str) -> NoReturn:
    """Skip the test for want of a real part; with CI set, fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
