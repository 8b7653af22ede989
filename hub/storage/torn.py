"""Puts aside what is cut off a log, for whoever wants to look at it.

Owns the names of these files. Blocks.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

NAME_BYTES = 255
"""What a file system takes as a name."""

logger = logging.getLogger(__name__)


class Torn:
    """Where it is kept: a directory, made when it is needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, path: Path, start: int) -> None:
        """Keep what stands in a file from a place on. What cannot be kept is told to the log."""
        aside = self._directory / _name(path.name, start)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with open(path, "rb") as source, open(aside, "wb") as target:
                source.seek(start)
                shutil.copyfileobj(source, target)
        except OSError as error:
            logger.warning("%s: could not keep what is cut off: %s", path, error)
        else:
            logger.warning("%s: what is cut off is kept in %s", path, aside)


def _name(file: str, start: int) -> str:
    name = f"{file}-{start}"
    if len(name.encode()) <= NAME_BYTES:
        return name
    digest = hashlib.sha256(file.encode()).hexdigest()
    return f"{file[:100]}-{digest}-{start}"
