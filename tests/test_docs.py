"""What the documentation shows is what happens: its transcripts run against a hub.

A ```console block holds commands behind `$ ` and what they print. Times and ids of
commits may differ; a line `...` stands for any lines, `…` for a part of a line. A
command that follows a channel goes on while the next block runs. A ```bash block is
run, too. A ```python block whose first line is a comment with a file name becomes that
file. Where git is asked, there is a small repository.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from hub import __version__, errors
from hub.options import Options
from hub.web.errors import status_of
from tests.conftest import RunHub
from tests.parts import require
from tests.process import PATIENCE, HubProcess

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARYING = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"  # an id
    r"|(?<=\"commitId\":\")[0-9a-f-]{36}"
    r"|(?<=\"committedAt\":)\d{13}"
)
_FOLLOWS = ("-N", "count.py")

_COMMITS = (
    ("2026-03-01T09:00:00+01:00", "Ann", "First steps", "milk\n"),
    ("2026-03-02T10:30:00+01:00", "Bob", "Tea can be ordered", "milk\ntea\nlemon\n"),
    ("2026-03-03T14:20:00+01:00", "Ann", "Sugar, too", "milk\ntea\nsugar\nhoney\n"),
)


class Shell:
    """Runs the commands of one page in one directory."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub
        self._following: tuple[subprocess.Popen[bytes], Path, str] | None = None

    def make_repository(self) -> None:
        """A git repository of three commits, where the commands run."""
        require("git")
        place = self._hub.events.parent
        own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        for number, (when, who, what, content) in enumerate(_COMMITS):
            (place / "list.txt").write_text(content)
            name = {"NAME": who, "EMAIL": f"{who}@example.com", "DATE": when}
            roles = {
                f"GIT_{role}_{key}": name[key] for role in ("AUTHOR", "COMMITTER") for key in name
            }
            begin = [] if number else [["git", "init", "-q"]]
            for command in (*begin, ["git", "add", "list.txt"], ["git", "commit", "-qm", what]):
                subprocess.run(command, cwd=place, check=True, env={**os.environ, **own, **roles})

    def run(self, block: str) -> None:
        """Run the commands of a block; compare what each prints with what it should."""
        earlier, self._following = self._following, None
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            if any(each in command.split() for each in _FOLLOWS):
                self._follow(command, expected)
            else:
                self._compare(command, self._print(command), expected)
        if earlier:
            self._finish(*earlier)

    def run_script(self, text: str) -> None:
        """Run commands that print nothing which the page shows."""
        command = ["bash", "-euo", "pipefail", "-c", self._local(text)]
        place = self._hub.events.parent
        subprocess.run(command, cwd=place, env=self._environment(), check=True, timeout=PATIENCE)

    def close(self) -> None:
        if self._following:
            self._finish(*self._following)

    def _local(self, text: str) -> str:
        return text.replace("http://localhost:9000", self._hub.url)

    def _environment(self) -> dict[str, str]:
        """That of a terminal in which the hub's own environment is active."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "HUB_URL": self._hub.url}

    def _print(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", 'curl() { command curl -sS "$@"; }; ' + self._local(command)],
            cwd=self._hub.events.parent,
            env=self._environment(),
            capture_output=True,
            timeout=PATIENCE,
        )
        return (done.stdout + done.stderr).decode().replace("\r", "")

    def _follow(self, command: str, expected: str) -> None:
        output = self._hub.events.parent / "followed.txt"
        with open(output, "wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", "exec env PYTHONUNBUFFERED=1 " + self._local(command)],
                cwd=self._hub.events.parent,
                env=self._environment(),
                stdout=file,
                stderr=subprocess.DEVNULL,
            )
        self._following = process, output, expected
        # What it prints before anything new comes: its first line, at least.
        first = expected.partition("\n")[0]
        self._wait(output, lambda text: first in text, command)

    def _finish(self, process: subprocess.Popen[bytes], output: Path, expected: str) -> None:
        try:
            self._wait(output, lambda text: _alike(text, expected), expected)
        finally:
            process.kill()
            process.wait()

    def _wait(self, output: Path, condition: Callable[[str], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition(output.read_text()):
            assert time.monotonic() < deadline, f"wanted:\n{what}\nis:\n{output.read_text()}"
            time.sleep(0.02)

    def _compare(self, command: str, printed: str, expected: str) -> None:
        assert _alike(printed, expected), f"$ {command}\n{printed}\nbut the page says:\n{expected}"


def _alike(printed: str, expected: str) -> bool:
    pattern = re.escape(_comparable(expected)).replace("…", ".*?")
    pattern = pattern.replace(re.escape("...\n"), r"(?:.*\n)*?")
    return re.fullmatch(pattern, _comparable(printed)) is not None


def _comparable(text: str) -> str:
    return _VARYING.sub("ID", text.strip("\n")) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_transcripts(page: Path, run_hub: RunHub) -> None:
    blocks = _BLOCK.findall(page.read_text())
    if not any(kind == "console" for kind, _ in blocks):
        return
    hub = run_hub()
    shell = Shell(hub)
    if "git log" in page.read_text():
        shell.make_repository()
    try:
        for kind, text in blocks:
            file = re.match(r"# (\w+\.py)\n", text)
            if kind == "python" and file:
                source = text.replace("http://localhost:9000", hub.url)
                (hub.events.parent / file[1]).write_text(source)
            elif kind == "console":
                shell.run(text)
            elif kind == "bash":
                shell.run_script(text)
    finally:
        shell.close()


def test_a_wrong_transcript_is_noticed() -> None:
    assert _alike("a\nb\nc\n", "a\n...\nc\n")
    assert _alike("x 2026-11-20T11:40:10.793214Z", "x 2027-01-02T03:04:05.000001Z\n")
    assert _alike('{"commitId":"' + 36 * "0" + '"}', '{"commitId":"' + 36 * "1" + '"}')
    assert _alike('{"a":1,"b":2}\n', '{"a":1,…}\n')
    assert not _alike('{"a":1,"b":2}\n', '{"a":1,…\n3}\n')
    assert not _alike("a\nb\n", "a\n")
    assert not _alike("a\nb\nd\n", "a\n...\nc\n")
    assert _alike("a\nb\n", "a\n...\n")


def test_every_option_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    for option in dataclasses.fields(Options):
        flag = f"--{option.name.replace('_', '-')}"
        row = re.search(rf"^\| `{flag}` \| (\S+) \|", page, re.MULTILINE)
        assert row, f"operating.md says nothing of {flag}"
        default = option.default
        if isinstance(default, (int, float, str)) and not isinstance(default, bool):
            assert row[1] == f"{default:g}" if isinstance(default, float) else str(default)


def test_every_error_is_documented() -> None:
    page = (ROOT / "docs" / "http.md").read_text()
    for name, each in vars(errors).items():
        if inspect.isclass(each) and issubclass(each, errors.HubError):
            if each is errors.HubError or issubclass(each, errors.StartupError):
                continue  # nobody gets these as an answer
            row = rf"^\| {status_of(each('why'))} \| .*`{each.code}`"
            assert re.search(row, page, re.MULTILINE), f"http.md says nothing of {name}"


def test_every_metric_is_documented(run_hub: RunHub) -> None:
    hub = run_hub()
    with urllib.request.urlopen(f"{hub.url}/metrics") as answer:
        names = re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.MULTILINE)
    page = (ROOT / "docs" / "operating.md").read_text()
    assert names
    for name in names:
        if not name.endswith("_created"):
            assert name.removesuffix("_total") in page, f"operating.md says nothing of {name}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            target, _, anchor = link.partition("#")
            if "://" not in target:
                file = page.parent / target if target else page
                assert file.exists(), f"{page.name} links to {target}"
                assert not anchor or anchor in _anchors(file), f"{page.name} links to {link}"


def _anchors(page: Path) -> list[str]:
    """The headings of a page, as a link names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]


def test_the_changelogs_top_version_is_this_one() -> None:
    top = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert top is not None
    assert top[1] == __version__
