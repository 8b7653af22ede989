"""Runs `hub` as people do: as a process, in a pipe, or at a terminal (a pty)."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import hub
from tests.process import PATIENCE

ROOT = Path(hub.__file__).parents[1]
COMMAND = [sys.executable, "-m", "hub"]


def environment(url: str | None = None, **more: str) -> dict[str, str]:
    """The environment of a command, without what the developer has set for hubs or terminals."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HUB_", "_HUB")) and name not in ("NO_COLOR", "FORCE_COLOR")
    }
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        **({"HUB_URL": url} if url else {}),
        **more,
    }


class Done:
    """What a command that has ended gave: a shell's exit code, and its output."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code if code >= 0 else 128 - code
        self.out = out.decode()
        self.err = err.decode()

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n--- standard error:\n{self.err}"

    @property
    def lines(self) -> list[str]:
        return self.out.split("\n")[:-1]


def run(
    *arguments: str, url: str | None = None, stdin: bytes = b"", cwd: Path | None = None, **env: str
) -> Done:
    """Run a command to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        env=environment(url, **env),
        cwd=cwd,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def shell(text: str, url: str | None = None) -> Done:
    """Run a line of bash in which `hub` is the command."""
    prelude = f'set -o pipefail; hub() {{ command {" ".join(COMMAND)} "$@"; }}; '
    done = subprocess.run(
        ["bash", "-c", prelude + text],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        env=environment(url),
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Running:
    """A command that goes on, with what it has printed so far. Leave it by `with`."""

    def __init__(self, *arguments: str, url: str | None = None, stdin: int | None = None) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(url),
        )
        self._read = {"out": b"", "err": b""}

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def wait_for(self, text: str, of: str = "out") -> str:
        """Wait until it has printed this; return all that it has printed there."""
        pipe = self.process.stdout if of == "out" else self.process.stderr
        assert pipe is not None
        deadline = time.monotonic() + PATIENCE
        while text not in self._read[of].decode(errors="replace"):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([pipe], [], [], max(0, left))
            assert ready, f"{text!r} did not come; there is {self._read}"
            piece = os.read(pipe.fileno(), 65536)
            assert piece, f"it ended without {text!r}: {self.finish()}"
            self._read[of] += piece
        return self._read[of].decode()

    def end(self, sign: signal.Signals = signal.SIGINT) -> Done:
        """Send a signal, and wait for the end."""
        self.process.send_signal(sign)
        return self.finish()

    def finish(self) -> Done:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=PATIENCE)
        code = self.process.returncode
        return Done(code, self._read["out"] + out, self._read["err"] + err)


def at_terminal(
    *arguments: str,
    url: str | None = None,
    keys: bytes = b"",
    after: bytes = b"",
    cwd: Path | None = None,
    **env: str,
) -> Done:
    """Run a command with a terminal for everything; its output is `out`.

    `keys` are typed when `after` has been printed.
    """
    terminal, own = pty.openpty()
    size = {"COLUMNS": "100", "LINES": "30", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=own,
        stdout=own,
        stderr=own,
        env=environment(url, **size, **env),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so Ctrl-C is a signal
    )
    os.close(own)
    out = b""
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"it does not end: {out!r}"
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # how Linux tells that nobody has it open any more
                break
            out += piece
            if keys and after in out:
                os.write(terminal, keys)
                keys = b""
        process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(terminal)
    return Done(process.returncode, out, b"")
