"""The heaps of the process: what the system's allocator keeps of the memory that was freed.

Owns how GNU's C library is told; with another one nothing happens. Must not know what the
memory is for.
"""

from __future__ import annotations

import ctypes

HEAPS = 2
"""That all threads share. By itself, the allocator gives each of them its own, which keeps some
of what was freed, and gives the rest back only to ask for it again."""

KEPT_BYTES = 16 * 1024 * 1024
"""Of what was freed, what each heap keeps at its end. Pieces of a megabyte come and go; were they
given back each time, the system would have to clear pages for the next one."""

LARGE_BYTES = 8 * 1024 * 1024
"""What is larger lies outside the heaps, and is given back at once."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # mallopt(3)

_LIBRARY = ctypes.CDLL(None)
_mallopt = getattr(_LIBRARY, "mallopt", None)
_malloc_trim = getattr(_LIBRARY, "malloc_trim", None)


def set_up() -> None:
    """Let threads share heaps, and these keep what is freed."""
    if _mallopt is not None:
        _mallopt(_M_ARENA_MAX, HEAPS)
        _mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        _mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back() -> None:
    """Return all that is free to the system, also what lies between things in use.

    Takes about a millisecond for 60 MiB, some of them in a large heap full of holes.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)
