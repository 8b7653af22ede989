"""The names of all streams, in order: a page of them costs what it holds, not what there is.

Owns their order. Must not know what a name stands for.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, takewhile

from sortedcontainers import SortedSet


class Names:
    """Names, in the order of their characters."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: SortedSet[str] = SortedSet(names)

    def add(self, name: str) -> None:
        """Take a name in."""
        self._names.add(name)

    def discard(self, name: str) -> None:
        """Let a name go, if it is there."""
        self._names.discard(name)

    def page(self, prefix: str, after: str, limit: int | None) -> list[str]:
        """The first `limit` names behind `after` that begin with a prefix; None: all of them."""
        if after < prefix:
            found = self._names.irange(prefix)
        else:
            found = self._names.irange(after, inclusive=(False, True))
        # They stand together: the first that begins otherwise ends them.
        return list(islice(takewhile(lambda name: name.startswith(prefix), found), limit))
