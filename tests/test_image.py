"""The image and the compose file: what can be shown without a Docker engine.

The wheel is built and installed into a clean virtual environment, and there
the image's own command runs with the image's own environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.parts import missing
from tests.process import free_port, wait_until

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "hub" / "web" / "ui"


def _instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def _last(name: str) -> str:
    return [rest for each, rest in _instructions() if each == name][-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a virtual environment that holds the built wheel and what it needs."""
    place = tmp_path_factory.mktemp("image")
    # A copy, as the image has one: a build leaves things behind.
    source = place / "source"
    copied = next(rest for name, rest in _instructions() if name == "COPY").split()[:-1]
    source.mkdir()
    for each in copied:
        shutil.copy(ROOT / each, source / each)
    shutil.copytree(ROOT / "hub", source / "hub")
    wheels = place / "wheels"
    pip = ["-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([sys.executable, *pip, "wheel", "--wheel-dir", wheels, source], check=True)
    # Nothing is in it but what is installed; pip works from outside.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
    python = place / "venv" / "bin" / "python"
    install = ["install", "--no-index", "--find-links", str(wheels), "eventhub"]
    subprocess.run([sys.executable, *pip, "--python", python, *install], check=True)
    return python.parent


def test_the_images_command_runs_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    port = free_port()
    settings = dict(re.findall(r"(HUB_\w+)=(\S+)", _last("ENV")))
    assert settings["HUB_HOST"] == "0.0.0.0"
    events = tmp_path / settings["HUB_EVENTS"].lstrip("/")
    command = json.loads(_last("CMD"))
    hub = subprocess.Popen(
        [installed / command[0], *command[1:]],
        env={
            "PATH": os.defpath,
            **settings,
            "HUB_HOST": "127.0.0.1",
            "HUB_PORT": str(port),
            "HUB_EVENTS": str(events),
        },
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(f"{url}/health"), "the hub answers")
        with urllib.request.urlopen(f"{url}/a-channel", data=b"hello") as answer:
            assert answer.status == 201
        assert (events / "a-channel.tsv").read_text().endswith("\t\thello\n")
        for path in (path.relative_to(PAGE) for path in PAGE.rglob("*") if path.is_file()):
            with urllib.request.urlopen(f"{url}/ui/{path}") as answer:
                assert answer.read() == (PAGE / path).read_bytes()
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(5) == 0
    finally:
        hub.kill()
        hub.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_image_does_not_run_as_root() -> None:
    names = [name for name, _ in _instructions()]
    assert names.index("USER") < names.index("CMD")
    assert _last("USER") not in ("root", "0")


def test_compose_accepts_the_file() -> None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _runs([*command, "version"]):
            break
    else:
        missing("there is no Docker Compose here: install Debian's docker-compose")
    found = subprocess.run(
        [*command, "-f", ROOT / "docker-compose.yml", "config"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert re.search(r"published: \"?9000\"?", found)
    assert re.search(r"target: \"?9000\"?", found)
    assert re.search(r"restart: (unless-stopped|always)", found)
    assert "healthcheck:" in found
    assert "/events" in found
    assert 'user: "1000:1000"' in found.replace("user: 1000:1000", 'user: "1000:1000"')


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0
