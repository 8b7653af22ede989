"""Threads share heaps, which keep what comes and goes, and give back what lies in between."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hub.web.heaps import HEAPS


def counted_with_and_without(code: str) -> list[int]:
    """What a program prints whose heaps are set up, and the same without."""
    counts = []
    for set_up in ("heaps.set_up()", ""):
        program = [sys.executable, "-c", code.format(set_up=set_up)]
        counts.append(int(subprocess.run(program, capture_output=True, check=True).stdout))
    return counts


_HEAPS = """
import re, threading
from hub.web import heaps
{set_up}
barrier = threading.Barrier(13)
def work():
    held = [bytes(1000 + n) for n in range(100)]
    barrier.wait(); barrier.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
for each in threads: each.start()
barrier.wait()
starts = [int(line.partition("-")[0], 16) for line in open("/proc/self/maps") if " rw-p " in line]
print(sum(start % 2**26 == 0 for start in starts))
barrier.wait()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="there the heaps are seen")
def test_threads_share_heaps() -> None:
    """Each beside the first begins at a multiple of 64 MiB."""
    shared, alone = counted_with_and_without(_HEAPS)
    assert shared <= HEAPS - 1 < alone


_PIECES = """
import resource, threading
from hub.web import heaps
{set_up}
def pieces(count):
    for _ in range(count):
        [b"x" * 2**20 + bytes([n]) for n in range(8)]
def work():
    pieces(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="there pages are counted")
def test_pieces_that_come_and_go_need_no_new_pages() -> None:
    kept, given_back = counted_with_and_without(_PIECES)
    assert kept < given_back / 10


_HOLES = """
from hub.web import heaps
heaps.set_up()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4
pieces = [b"x" * 60_000 + bytes([n % 256]) for n in range(1000)]
used = pieces[::100]
del pieces
held = resident()
heaps.give_back()
print(held - resident())
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="there memory is seen")
def test_what_lies_between_things_in_use_is_given_back() -> None:
    program = subprocess.run([sys.executable, "-c", _HOLES], capture_output=True, check=True)
    assert int(program.stdout) > 50_000  # KiB
