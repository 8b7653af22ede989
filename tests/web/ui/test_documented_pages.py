"""The pages in "event sourcing in ten minutes", from another origin than the hub."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import RunHub
from tests.process import PATIENCE, HubProcess, free_port, wait_until

TEXT = (Path(__file__).parents[3] / "docs" / "event-sourcing.md").read_text()


def printed(kind: str, name: str, hub: HubProcess) -> str:
    """A file of the documentation, for this hub."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (found,) = (each for each in blocks if name in each.partition("\n")[0])
    assert "http://localhost:9000" in found
    return str(found).replace("http://localhost:9000", hub.url)


def python(place: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=place, check=True, capture_output=True, timeout=PATIENCE
    )
    return done.stdout.decode()


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """The server that the documentation starts beside the pages."""
    command = re.search(r"^python3 (-m http\.server) 8000", TEXT, re.MULTILINE)
    assert command is not None
    port = free_port()
    arguments = [*command[1].split(), str(port), "--bind", "127.0.0.1"]
    with open(tmp_path / "server.log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, *arguments], cwd=tmp_path, stdout=log, stderr=log
        )

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/", timeout=PATIENCE):
                return True
        except OSError:
            return False

    try:
        wait_until(answers, "the server of the pages answers")
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def hub(run_hub: RunHub, origin: str) -> HubProcess:
    assert "hub serve --cors http://localhost:8000" in TEXT
    return run_hub("--cors", origin, "--retry", "50", "--durability", "os")


@pytest.fixture
def open_page(chromium: Browser, hub: HubProcess, origin: str, tmp_path: Path) -> Iterator[Page]:
    """A tab; nothing may go wrong in it."""
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in ("todo.html", "account.html"):
        (tmp_path / name).write_text(printed("html", name, hub))
    for name in ("todo.py", "account.py"):
        (tmp_path / name).write_text(printed("python", name, hub))
    yield page
    page.close()
    assert errors == []


def test_the_list_of_things_to_do(
    open_page: Page, hub: HubProcess, origin: str, tmp_path: Path
) -> None:
    page = open_page
    python(tmp_path, "todo.py", "added", "buy", "tea")
    page.goto(f"{origin}/todo.html")
    items = page.locator("li")
    expect(items).to_have_text(["buy tea done"])
    page.get_by_placeholder("What is to be done?").fill("<b>call</b> Bob")
    page.keyboard.press("Enter")
    expect(items).to_have_text(["buy tea done", "<b>call</b> Bob done"])
    assert python(tmp_path, "todo.py") == "- buy tea\n- <b>call</b> Bob\n"
    items.first.get_by_role("button").click()
    expect(items).to_have_text(["<b>call</b> Bob done"])
    hub.restart()
    python(tmp_path, "todo.py", "added", "write")
    expect(items).to_have_text(["<b>call</b> Bob done", "write done"])
    # Whoever comes later sees the same.
    page.reload()
    expect(items).to_have_text(["<b>call</b> Bob done", "write done"])


def test_the_account(open_page: Page, origin: str, tmp_path: Path) -> None:
    page = open_page
    python(tmp_path, "account.py", "ann", "deposit", "50")
    page.goto(f"{origin}/account.html")
    expect(page.locator("h1")).to_have_text("Ann has 50")
    told = python(tmp_path, "account.py", "ann", "withdraw", "40")
    assert told == "withdrawn: 10 are left\n"
    expect(page.locator("h1")).to_have_text("Ann has 10")
    expect(page.locator("li")).to_have_text(["Deposited 50: 50", "Withdrawn 40: 10"])
    assert "refused" in python(tmp_path, "account.py", "ann", "withdraw", "40")
