"""`hub export`: the bytes of the logs, gone on with, never over something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.commands import at_terminal, run
from tests.process import HubProcess
from tests.storage import damage

FILES = ["acc-1.ndjson", "order%2F17.ndjson", "orders.tsv", "other.tsv"]


@pytest.fixture(scope="module", autouse=True)
def written(server: HubProcess) -> None:
    damage.write(server)
    damage.write_commit(server, "order/17", 2)


def same(server: HubProcess, directory: Path, *names: str) -> bool:
    return all(
        (directory / name).read_bytes() == (server.events / name).read_bytes()
        for name in names or FILES
    )


def test_everything(server: HubProcess, tmp_path: Path) -> None:
    done = run("export", "--to", str(tmp_path / "a/b"), url=server.url)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("4 logs are in ")
    assert sorted(os.listdir(tmp_path / "a/b")) == FILES
    assert same(server, tmp_path / "a/b")


def test_some(server: HubProcess, tmp_path: Path) -> None:
    run("export", "orders", "order/17", "--to", str(tmp_path), url=server.url)
    assert sorted(os.listdir(tmp_path)) == ["order%2F17.ndjson", "orders.tsv"]
    missing = run("export", "nothing", "--to", str(tmp_path), url=server.url)
    assert missing.code == 1
    assert "there is no log 'nothing'" in missing.err


@pytest.mark.parametrize("name", ["orders.tsv", "acc-1.ndjson"])
@pytest.mark.parametrize("left", [0, 1, 100, 200])
def test_it_goes_on_where_it_was_interrupted(
    name: str, left: int, server: HubProcess, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes((server.events / name).read_bytes()[:left])
    done = run("export", name.partition(".")[0], "--to", str(tmp_path), url=server.url)
    assert done.code == 0, done
    assert same(server, tmp_path, name)


def test_what_is_new_is_added_and_only_that(server: HubProcess, tmp_path: Path) -> None:
    for _ in range(2):
        damage.ask(server, "/growing", b"one more")
        damage.write_commit(server, "grow/1", 2)
        run("export", "growing", "grow/1", "--to", str(tmp_path), url=server.url)
        assert same(server, tmp_path, "growing.tsv", "grow%2F1.ndjson")
    done = run("export", "growing", "grow/1", "--to", str(tmp_path), url=server.url)
    assert done.out.endswith(" 0 B of it new\n")


@pytest.mark.parametrize("name", ["orders.tsv", "acc-1.ndjson"])
@pytest.mark.parametrize("cut", [0, 3])
def test_another_file_is_left_as_it_is(
    name: str, cut: int, server: HubProcess, tmp_path: Path
) -> None:
    content = (server.events / name).read_bytes()
    mine = content + content[: len(content) - cut].replace(b"e", b"E") + b"torn"
    (tmp_path / name).write_bytes(mine)
    done = run("export", name.partition(".")[0], "other", "--to", str(tmp_path), url=server.url)
    assert done.code == 1
    assert f"{tmp_path}/{name} is not the beginning of " in done.err
    assert (tmp_path / name).read_bytes() == mine
    assert same(server, tmp_path, "other.tsv")


def test_progress_at_a_terminal(server: HubProcess, tmp_path: Path) -> None:
    assert "exporting" in at_terminal("export", "--to", str(tmp_path), url=server.url).out
