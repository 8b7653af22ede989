"""The hub as a process: what it says when it cannot start, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import RunHub
from tests.process import PATIENCE, wait_until


def serve(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a hub that is not going to last."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    command = [sys.executable, "-m", "hub", "serve", "--port", "0", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=own, capture_output=True, text=True, timeout=PATIENCE
    )


def check_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1
    last = result.stderr.rstrip("\n").split("\n")[-1]
    assert last.startswith("hub: ")
    for word in words:
        assert word in last
    assert "Traceback" not in result.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        check_refused(serve("--port", port, cwd=tmp_path), port, "in use", "--port")


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    check_refused(serve("--host", "192.0.2.1", cwd=tmp_path), "192.0.2.1", "--host")


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = serve("--events", "file/events", cwd=tmp_path)
    check_refused(result, "file/events", "Not a directory")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a directory that takes no files")
def test_a_directory_that_takes_no_files(tmp_path: Path) -> None:
    check_refused(serve("--events", "/proc/self", cwd=tmp_path), "/proc/self")


def test_a_directory_in_use(run_hub: RunHub, tmp_path: Path) -> None:
    first = run_hub()
    assert first.process
    result = serve("--events", str(first.events), cwd=tmp_path)
    check_refused(result, str(first.events), f"process {first.process.pid}", "--events")


def test_any_free_port(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hub", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", process.stderr.readline())
        assert found
        with urllib.request.urlopen(f"{found[1]}/health") as answer:
            assert json.load(answer)["status"] == "ok"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert (tmp_path / "events" / ".hub").is_dir()


def test_a_subscription_does_not_hold_the_end_up(run_hub: RunHub) -> None:
    hub = run_hub()
    request = urllib.request.Request(
        f"{hub.url}/a-channel", headers={"Accept": "text/event-stream"}
    )
    with urllib.request.urlopen(request) as stream:
        assert stream.readline() == b"retry: 2000\n"
        began = time.monotonic()
        assert hub.stop() == 0
        assert time.monotonic() - began < 2
        assert stream.read() == b":\n"


def test_a_long_opening_does_not_hold_the_end_up(tmp_path: Path) -> None:
    events = tmp_path / "events"
    events.mkdir()
    lines = b"".join(b"%d\t\tx\n" % number for number in range(100_000))
    with open(events / "a-channel.tsv", "wb") as file:
        for _ in range(40):  # seconds of reading
            file.write(lines)
    command = [sys.executable, "-m", "hub", "serve", "--port", "0", "--events", str(events)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        wait_until((events / ".hub" / "lock").exists, "it has begun to open")
        began = time.monotonic()
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert time.monotonic() - began < 2
        assert "the next start reads them again" in process.stderr.read()
