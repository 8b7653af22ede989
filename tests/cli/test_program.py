"""How `hub` ends: exit codes, and what it says on which stream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hub import __version__
from tests.cli.commands import environment, run


def hub(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hub", *arguments], capture_output=True, text=True, timeout=30
    )


def test_without_arguments_it_explains_itself_and_fails() -> None:
    done = hub()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr
    assert hub("--help").stdout.strip() == done.stderr.strip()


def test_the_version() -> None:
    done = hub("--version")
    assert (done.returncode, done.stdout) == (0, f"hub, version {__version__}\n")


@pytest.mark.parametrize("arguments", [["nope"], ["serve", "--nope"], ["serve", "nope"]])
def test_a_mistake_in_the_command_is_2(arguments: list[str]) -> None:
    done = hub(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: hub ")
    assert "--help' for help.\n\nhub: No such " in done.stderr or "\nhub: Got un" in done.stderr


def test_a_file_that_does_not_do_is_told_in_a_sentence(url: str, tmp_path: Path) -> None:
    assert run("publish", "orders", "tea", url=url).code == 0
    (tmp_path / "file").touch()
    done = run("export", "--to", str(tmp_path / "file" / "backup"), url=url)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"hub: {tmp_path / 'file' / 'backup'}: Not a directory\n"


@pytest.mark.parametrize("command", ["--help", "ls", "cat orders"])
def test_output_that_finds_no_space_is_told_in_a_sentence(url: str, command: str) -> None:
    assert run("publish", "orders", "tea", url=url).code == 0
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hub", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(url),
            timeout=30,
        )
    assert (done.returncode, done.stderr) == (1, b"hub: No space left on device\n")
