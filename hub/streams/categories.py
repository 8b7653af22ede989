"""Which streams belong to a category: those called `category-…` or `category/…`.

Owns the lists of categories that were asked for lately, so that not every read
goes through the names of all logs. Must not know what is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from hub.engines.base import Committed, Engine

REMEMBERED = 64
"""Categories whose logs are remembered."""


class Categories:
    """The logs of categories, kept up to date."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._logs: OrderedDict[str, dict[str, None]] = OrderedDict()
        engine.on_commit.append(self._committed)

    def names(self, category: str) -> Sequence[str]:
        """Every stream of a category, the derived ones too."""
        heads = _heads(category)
        logs = self._logs.get(category)
        if logs is None:
            found = (name for head in heads for name in self._engine.names(head))
            logs = dict.fromkeys(name for name in found if self._engine.find(name))
            self._logs[category] = logs
            if len(self._logs) > REMEMBERED:
                self._logs.popitem(last=False)
        derived = [name for name in self._engine.derived if name.startswith(heads)]
        return (*logs, *derived)

    def _committed(self, commit: Committed) -> None:
        if commit.revision != 1:
            return
        name = commit.log.name
        for category, logs in self._logs.items():
            if name.startswith(_heads(category)):
                logs[name] = None


def _heads(category: str) -> tuple[str, str]:
    return f"{category}-", f"{category}/"
