"""`hub verify`: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import at_terminal, run
from tests.process import HubProcess
from tests.storage import damage


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("written")
    hub = HubProcess(place / "events", place / "log")
    hub.start()
    try:
        damage.write(hub)
    finally:
        hub.stop()
    return hub.events


@pytest.fixture
def directory(written: Path, tmp_path: Path) -> Path:
    return damage.copy(written, tmp_path / "events")


def test_a_sound_directory(directory: Path) -> None:
    size = sum(each.stat().st_size for each in directory.iterdir() if each.is_file())
    done = run("verify", str(directory))
    assert (done.code, done.err) == (0, "")
    assert done.out == f"3 logs, 36 events, {size / 1000:.1f} kB: sound\n"


def test_which_directory(directory: Path) -> None:
    assert run("verify", cwd=directory.parent).code == 0  # ./events
    assert run("verify", HUB_EVENTS=str(directory)).code == 0
    missing = run("verify", "nowhere")
    assert missing.code == 2
    assert "'nowhere' does not exist" in missing.err
    empty = run("verify", str(directory / ".hub" / "streams"))
    assert (empty.code, empty.out) == (1, "")
    assert empty.err.startswith("hub: there are no event files in ")


def test_damage_names_file_line_and_reason(directory: Path) -> None:
    damage.replace("orders.tsv", b'\tplaced\t{"n":3}', b'.placed\t{"n":3}')(directory)
    damage.append("other.tsv", b"torn")(directory)
    done = run("verify", str(directory))
    assert done.code == 1
    assert done.lines[0] == (
        f"{directory}/orders.tsv:4: it is not 'id TAB event TAB data': it has fewer than two TABs"
    )
    assert f"{directory}/other.tsv:2: warning: a torn write of 4 bytes" in done.out
    assert done.lines[-1].endswith(": 2 damaged places")


def test_a_warning_alone_is_no_failure(directory: Path) -> None:
    damage.append("other.tsv", b"torn")(directory)
    done = run("verify", str(directory))
    assert done.code == 0
    assert done.lines[-1].endswith(": sound")


def test_as_json(directory: Path) -> None:
    damage.append("orders.tsv", b"bad\n")(directory)
    done = run("verify", "--json", str(directory))
    found, tally = map(json.loads, done.lines)
    assert found == {
        "file": f"{directory}/orders.tsv",
        "line": 21,
        "reason": "it is not 'id TAB event TAB data': it has fewer than two TABs",
        "damage": True,
    }
    assert tally["damaged"] == done.code == 1
    assert (tally["logs"], tally["indexed"]) == (3, 36)


def test_the_files_of_consumers_are_looked_at(directory: Path) -> None:
    path = directory / ".hub" / "consumers" / "count.json"
    path.write_bytes(path.read_bytes().replace(b'"position":20', b'"position":21'))
    done = run("verify", str(directory))
    assert done.code == 1
    assert f"{path}: line 2: its checksum is another" in done.out


def test_at_a_terminal_there_is_a_bar_that_goes_away(directory: Path) -> None:
    done = at_terminal("verify", str(directory))
    assert done.code == 0
    assert "verifying" in done.out
    assert done.out.endswith("sound\r\n")


def test_beside_a_hub_a_person_is_told(written: Path, tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "own", tmp_path / "log")
    hub.start()
    try:
        damage.write(hub)
        assert "a hub has" in at_terminal("verify", str(hub.events)).out
        assert run("verify", str(hub.events)).err == ""
    finally:
        hub.stop()
