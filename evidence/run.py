"""One run of a program of evidence: its seed, its place, and what it says.

Owns what all programs share. Must not know any of them.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path


class Broken(Exception):
    """The hub has not kept a promise; the text says which, and where to look."""


def check(holds: object, promise: str) -> None:
    """Raise `Broken` unless it holds. Unlike `assert`, also with `python -O`."""
    if not holds:
        raise Broken(promise)


@dataclass(frozen=True)
class Run:
    """What a program gets: an empty directory, and how much it is to do."""

    directory: Path
    seed: int
    long: bool
    began: float = field(default_factory=time.monotonic)

    def chance(self, name: str = "") -> random.Random:
        """Random numbers of this seed; another name gives others."""
        return random.Random(f"{self.seed} {name}")

    def pick(self, short: int, long: int) -> int:
        """One number for the short setting, one for the long."""
        return long if self.long else short

    def say(self, text: str) -> None:
        """Tell how far it is."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", file=sys.stderr, flush=True)
