"""`hub ls`: a table for people, plain lines for pipes, JSON for programs."""

from __future__ import annotations

import json

import pytest

from hub.cli import ls
from tests.cli.commands import at_terminal, run
from tests.process import HubProcess
from tests.storage import damage


@pytest.fixture(scope="module", autouse=True)
def written(server: HubProcess) -> None:
    damage.write(server)
    damage.ask(server, "/streams/acc-1/close", b"", method="POST")


def test_lines_for_pipes(server: HubProcess) -> None:
    done = run("ls", url=server.url)
    assert (done.code, done.err) == (0, "")
    rows = [line.split("\t") for line in done.lines]
    assert [(row[0], row[1], row[4]) for row in rows] == [
        ("acc-1", "15", "ndjson closed"),
        ("of-type-t1", "3", "derived"),
        ("orders", "20", "tsv"),
        ("other", "1", "tsv"),
    ]
    assert rows[2][2] == str((server.events / "orders.tsv").stat().st_size)
    assert rows[2][3] == run("tail", "-n", "1", "orders", url=server.url).out.split("\t")[0]


def test_prefix_and_order(url: str) -> None:
    def names(*options: str) -> list[str]:
        return [line.split("\t")[0] for line in run("ls", *options, url=url).lines]

    assert names("--prefix", "o") == ["of-type-t1", "orders", "other"]
    assert names("--sort", "events")[0] == "orders"
    assert names("--sort", "size")[0] == "acc-1"
    assert names("--sort", "last")[0] == "acc-1"
    assert run("ls", "--sort", "colour", url=url).code == 2


def test_json(url: str) -> None:
    found = [json.loads(line) for line in run("ls", "--json", url=url).lines]
    assert found[2]["stream"] == "orders"
    assert found[2]["version"] == 20


def test_a_table_at_a_terminal(url: str) -> None:
    done = at_terminal("ls", "--prefix", "or", url=url)
    head, row = done.out.replace("\r", "").split("\n")[:2]
    assert head.startswith("\x1b[1mNAME    EVENTS ")
    assert row.split()[:2] == ["orders", "20"]
    plain = at_terminal("ls", "--prefix", "or", url=url, NO_COLOR="1")
    assert plain.out.startswith("NAME    EVENTS")
    assert "\x1b" not in plain.out


async def test_many_pages(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    from hub.client.connection import Connection

    monkeypatch.setattr(ls, "PAGE", 1)
    connection = Connection(url)
    try:
        found = [each.stream async for each, _ in ls.listing(connection)]
    finally:
        await connection.close()
    assert found == ["acc-1", "of-type-t1", "orders", "other"]
