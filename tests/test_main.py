"""`python -m hub` is the command `hub`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_both_ways_to_start_are_one() -> None:
    command = Path(sys.executable).with_name("hub")
    outputs = [
        subprocess.run([*start, "serve", "--help"], check=True, capture_output=True).stdout
        for start in ([sys.executable, "-m", "hub"], [str(command)])
    ]
    assert outputs[0] == outputs[1]
    assert b"Usage: hub serve" in outputs[0]
