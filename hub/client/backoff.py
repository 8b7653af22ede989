"""How long to wait before something is tried again."""

from __future__ import annotations

import random

LONGEST = 30.0
"""Seconds above which waiting times do not grow."""


class Backoff:
    """Waiting times that double, each with jitter, so that many do not come back at once."""

    def __init__(self, base: float, longest: float = LONGEST) -> None:
        self.base = base
        """Seconds of the first one, on average."""
        self.attempt = 0
        """How many there were since the last success."""
        self._longest = longest

    def next(self) -> float:
        """Seconds to wait now."""
        # Not 2**attempt, which has no bound.
        grown = min(self.base * 2.0 ** min(self.attempt, 30), max(self._longest, self.base))
        self.attempt += 1
        return grown * random.uniform(0.5, 1.5)  # noqa: S311 - no secret

    def succeed(self) -> None:
        """Begin again with the base."""
        self.attempt = 0
