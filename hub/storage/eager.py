"""Begins coroutines at once: eager tasks, before Python 3.12.

Owns how what is left of one goes on in a task of its own.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any


def start(work: Coroutine[Any, None, None]) -> Coroutine[Any, None, None] | None:
    """Run a coroutine up to its first wait; return what is left of it, None if nothing is."""
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    return _rest_of(work, waits_for)


async def _rest_of(work: Coroutine[Any, None, None], waits_for: Any) -> None:
    await _steps(work, waits_for)


@types.coroutine
def _steps(work: Coroutine[Any, None, None], waits_for: Any) -> Generator[Any, Any, None]:
    while True:
        try:
            value = yield waits_for
        except BaseException as error:
            step = partial(work.throw, error)
        else:
            step = partial(work.send, value)
        try:
            waits_for = step()
        except StopIteration:
            return
