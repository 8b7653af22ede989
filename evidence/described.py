"""Requests that the hub's own description allows, and the answers held against it: Schemathesis.

Owns how that is run and what it says.
"""

from __future__ import annotations

import re
import subprocess
import sys

from evidence.run import Run, check
from tests.process import HubProcess

FILES = ("schemathesis.txt", ".schemathesis", ".hypothesis")
"""What it leaves in the run's directory."""

_HOLDS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
_SECONDS = 10


def described(run: Run, hub: HubProcess) -> list[str]:
    """Send what the description allows to each operation; in the long setting, what it does not."""
    told = [_run(run, hub, "fuzzing", "positive", _HOLDS, run.pick(2, 300))]
    if run.long:
        told.append(_run(run, hub, "stateful", "positive", _HOLDS, 100))
        # What is no channel, as /metrics, has another answer than a channel.
        told.append(_run(run, hub, "coverage", "all", "not_a_server_error", 1))
        told.append(_run(run, hub, "fuzzing", "negative", "not_a_server_error", 100))
    return told


def _run(run: Run, hub: HubProcess, phase: str, mode: str, checks: str, examples: int) -> str:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{hub.url}/ui/openapi.json"),
        *("--seed", str(run.seed), "--max-examples", str(examples), "--no-color"),
        *("--phases", phase, "--mode", mode, "--checks", checks),
        *("--request-timeout", str(_SECONDS), "--suppress-health-check", "all"),
        *("--warnings", "off"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, cwd=run.directory)
    (run.directory / FILES[0]).write_text(result.stdout + result.stderr)
    # It cannot make every kind of what is not allowed, and says so: that is not the hub's.
    fine = "Failures:" not in result.stdout and "Test cases:" in result.stdout
    check(fine, f"Schemathesis:\n{result.stdout[-5000:]}{result.stderr[-2000:]}")
    found = re.search(r"(\d+) generated", result.stdout)
    check(found and int(found[1]), f"Schemathesis sent nothing:\n{result.stdout}")
    assert found is not None
    run.say(f"Schemathesis, {phase}, {mode}")
    return f"Schemathesis, {phase}, {mode}: {int(found[1]):,} requests"
