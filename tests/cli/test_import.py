"""`hub import`: what was exported comes back, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import run
from tests.process import HubProcess
from tests.storage import damage


@pytest.fixture(scope="module")
def files(server: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    damage.write(server)
    body = {"events": [{"type": "A", "n": 1}, {"type": "B"}], "metadata": {"user": "ann"}}
    damage.ask(server, "/streams/acc-1/commit", json.dumps(body).encode())
    place = tmp_path_factory.mktemp("files")
    run("export", "--to", str(place), url=server.url)
    return place


def kept(path: Path) -> list[Any]:
    """What of documents comes back."""
    own = ("id", "commitId", "committedAt")
    documents = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    return [
        (each["payload"], {k: v for k, v in each["metadata"].items() if k not in own})
        for each in documents
    ]


def test_rows_come_back_byte_for_byte_and_once(server: HubProcess, files: Path) -> None:
    command = ("import", str(files / "orders.tsv"), "--as", "orders-again")
    assert run(*command, url=server.url).out == "orders-again: 20 events\n"
    again = run(*command, url=server.url)
    assert again.out == "orders-again: 0 events, behind 20 that were there\n"
    copy = server.events / "orders-again.tsv"
    assert copy.read_bytes() == (files / "orders.tsv").read_bytes()


def test_documents_come_back_as_the_same_commits(server: HubProcess, files: Path) -> None:
    command = ("import", str(files / "acc-1.ndjson"), "--as", "acc/again")
    assert run(*command, url=server.url).out == "acc/again: 17 events\n"
    again = run(*command, url=server.url)
    assert again.out == "acc/again: 0 events, behind 17 that were there\n"
    assert kept(server.events / "acc%2Fagain.ndjson") == kept(files / "acc-1.ndjson")


@pytest.mark.parametrize(("name", "lines"), [("orders.tsv", 7), ("acc-1.ndjson", 6)])
def test_an_import_that_was_interrupted_goes_on(
    name: str, lines: int, server: HubProcess, files: Path, tmp_path: Path
) -> None:
    part = tmp_path / name
    content = (files / name).read_bytes()
    part.write_bytes(b"".join(line + b"\n" for line in content.split(b"\n")[:lines]))
    log = f"part-of-{lines}"
    run("import", str(part), "--as", log, url=server.url)
    done = run("import", str(files / name), "--as", log, url=server.url)
    total = content.count(b"\n")
    assert done.out == f"{log}: {total - lines} events, behind {lines} that were there\n"


@pytest.mark.parametrize("name", ["orders.tsv", "acc-1.ndjson"])
def test_a_log_with_other_events_is_left_alone(name: str, server: HubProcess, files: Path) -> None:
    log = f"taken-{name[0]}"
    if name == "orders.tsv":
        damage.ask(server, f"/{log}", b"mine")
    else:
        damage.write_commit(server, log, 1)
    refused = run("import", str(files / name), "--as", log, url=server.url)
    assert refused.code == 1
    assert f"{name}: '{log}' has events that are not the beginning of it" in refused.err
    done = run("import", str(files / name), "--as", log, "--append", url=server.url)
    total = (files / name).read_bytes().count(b"\n")
    assert done.out == f"{log}: {total} events, behind 1 that were there\n"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad-one.tsv", b"x\ty\tz\nnonsense\n", "line 2: it is not 'id TAB"),
        ("bad-two.ndjson", b"nonsense\n", "line 1: it is not a document"),
        ("bad:three.tsv", b"x\ty\tz\n", "rows go to a channel, which 'bad:three' is not"),
        ("orders.ndjson", b"", "'orders' is there, and its format is tsv, not ndjson"),
    ],
)
@pytest.mark.usefixtures("files")
def test_bad_files(name: str, content: bytes, reason: str, url: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    done = run("import", str(tmp_path / name), url=url)
    assert (done.code, done.out) == (1, "")
    assert reason in done.err


def test_a_torn_commit_is_told(server: HubProcess, files: Path, tmp_path: Path) -> None:
    lines = (files / "acc-1.ndjson").read_bytes().split(b"\n")
    (tmp_path / "torn.ndjson").write_bytes(b"\n".join(lines[:4]) + b"\n")
    done = run("import", str(tmp_path / "torn.ndjson"), url=server.url)
    assert done.code == 1
    assert "line 4: its commit is not whole" in done.err
    assert "3 events were stored" in done.err


def test_mistakes(files: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    both = (str(files / "orders.tsv"), str(files / "acc-1.ndjson"))
    for arguments in ([*both, "--as", "x"], [str(tmp_path / "a.txt")], ["nowhere.tsv"], []):
        assert run("import", *arguments, url=url).code == 2
