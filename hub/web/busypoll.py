"""Busy polling: for a moment after an answer the event loop looks again instead of sleeping.

A client that waits for each answer sends its next request some ten microseconds later. A
process that sleeps by then has to be woken, and its processor too, which on a virtual
machine takes longer than to store an event. Owns when looking again pays: as long as
requests do come so. Must not know what they ask for.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

SECONDS = 0.0002
"""For how long the loop stays awake after an answer."""

MOST = 8
"""So often in a row at most it stays awake in vain; then it sleeps after each answer."""

TRIES = 64
"""Of so many answers after which it would sleep, it stays awake after one, to see."""


class BusyPoll:
    """Keeps the event loop awake. Is told of each answer, and of each request."""

    def __init__(self) -> None:
        self.awake = False
        self._until = 0.0
        self._credit = 0
        self._asleep = 0  # answers since it was tried

    def answered(self, loop: asyncio.AbstractEventLoop) -> None:
        """A client has its answer, and may ask again at once."""
        if not self._credit:
            self._asleep += 1
            if self._asleep < TRIES:
                return
            self._asleep = 0
        self._until = perf_counter() + SECONDS
        if not self.awake:
            self.awake = True
            loop.call_soon(self._look, loop)

    def asked(self) -> None:
        """A request has come."""
        if self.awake and self._credit < MOST:
            self._credit += 1

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        # A loop that has something to call does not sleep.
        if perf_counter() < self._until:
            loop.call_soon(self._look, loop)
            return
        self.awake = False
        if self._credit:
            self._credit -= 1
