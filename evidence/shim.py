"""A hub whose file calls can be made to fail, and are recorded, and whose clock can be set.

A small library stands between it and the system.

Owns how it is built and spoken to; what it does stands in `shim.c`.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

_SOURCE = Path(__file__).with_name("shim.c")
_CONTROL = struct.Struct("@iiiii")
_CLOCK = struct.Struct("@qqq")
_CLOCK_AT = struct.calcsize("@iiiiiq") - struct.calcsize("@q")
_PACE = struct.Struct("@q")
_PACE_AT = _CLOCK_AT + _CLOCK.size
_ENTRY = struct.Struct("=BBHIQQQQ")


class Call(IntEnum):
    """Kinds of calls, and of entries in a record."""

    NONE = 0
    OPEN = 1
    WRITE = 2
    SYNC = 3
    TRUNCATE = 4
    RENAME = 5
    UNLINK = 6
    MAKE = 7
    SYNCED = 8
    SENT = 9
    CREATED = 10
    DIE = 11


class Entry(NamedTuple):
    """One call that went well, or a sync; see `shim.c`."""

    call: Call
    failed: bool
    path: str
    data: bytes
    file: int
    offset: int
    size: int
    time: int


class Shim:
    """The library, built in a directory, for processes that run in `environment`."""

    def __init__(self, directory: Path, under: Path, *, record: bool = False) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise FileNotFoundError("there is no C compiler here: install Debian's gcc, libc6-dev")
        library = directory / "shim.so"
        flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library)]
        subprocess.run([compiler, *flags, str(_SOURCE), "-ldl", "-lpthread"], check=True)
        control = directory / "control"
        size = _PACE_AT + _PACE.size
        control.write_bytes(bytes(size))
        with open(control, "r+b") as file:
            self._control = mmap.mmap(file.fileno(), size)
        self.record = directory / "record"
        self.environment = {
            "LD_PRELOAD": str(library),
            "HUB_SHIM_UNDER": str(under),
            "HUB_SHIM_CONTROL": str(control),
        }
        if record:
            self.record.touch()
            self.environment["HUB_SHIM_RECORD"] = str(self.record)

    def arm(self, call: Call, number: int, error: int, *, lasting: bool) -> None:
        """Let the call of this number fail, counted from now, and with `lasting` all behind it.

        `error` 0 lets a write take half.
        """
        _CONTROL.pack_into(self._control, 0, Call.NONE, number, error, lasting, 0)
        self._control[:4] = struct.pack("=i", call)

    def die(self) -> None:
        """Let the process end like one that is killed, but with nothing half recorded."""
        self.arm(Call.DIE, 1, 0, lasting=False)

    def heal(self) -> int:
        """Let nothing fail any more; return how many calls have."""
        self._control[:4] = struct.pack("=i", Call.NONE)
        return self.fired

    @property
    def fired(self) -> int:
        """How many calls have failed since `arm`."""
        return int(_CONTROL.unpack_from(self._control)[4])

    def set_clock(self, shift: int = 0, *, frozen: int = 0, leap: int = 0) -> None:
        """Let the time of day be another, in nanoseconds; also for processes yet to come.

        `shift` is added to it; at `frozen` it stands still; the second before `leap` is
        there twice, as systems tell a leap second.
        """
        _CLOCK.pack_into(self._control, _CLOCK_AT, shift, frozen, leap)

    def slow_down(self, rate: float) -> None:
        """Let the files take so many bytes a second from each thread that writes; 0: as they do."""
        _PACE.pack_into(self._control, _PACE_AT, round(1e9 / rate) if rate else 0)


def entries(record: bytes) -> Iterator[Entry]:
    """What was recorded, in its order."""
    at = 0
    while at + _ENTRY.size <= len(record):
        call, failed, path, data, *rest = _ENTRY.unpack_from(record, at)
        at += _ENTRY.size
        name = os.fsdecode(record[at : at + path])
        at += path
        yield Entry(Call(call), bool(failed), name, record[at : at + data], *rest)
        at += data
