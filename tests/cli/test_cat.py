"""`hub cat`: the bytes of the file, no others, into any pipe."""

from __future__ import annotations

import pytest

from tests.cli.commands import at_terminal, run, shell
from tests.process import HubProcess
from tests.storage import damage


@pytest.fixture(scope="module", autouse=True)
def written(server: HubProcess) -> None:
    damage.write(server)
    damage.ask(server, "/breaks-in", b"two\nlines")
    damage.write_commit(server, "order/17", 2)


@pytest.mark.parametrize("name", ["orders", "acc-1", "breaks-in", "order/17"])
def test_the_file_as_it_is(name: str, server: HubProcess) -> None:
    form = "tsv" if name in ("orders", "breaks-in") else "ndjson"
    done = run("cat", name, url=server.url)
    assert (done.code, done.err) == (0, "")
    file = server.events / f"{name.replace('/', '%2F')}.{form}"
    assert done.out.encode() == file.read_bytes()


def test_several_one_after_the_other(url: str) -> None:
    one, other = run("cat", "orders", url=url), run("cat", "breaks-in", url=url)
    assert run("cat", "orders", "breaks-in", url=url).out == one.out + other.out


def test_in_the_other_format(url: str) -> None:
    assert '"payload":{"type":"placed","n":19}' in run("cat", "orders", "--json", url=url).lines[-1]
    assert run("cat", "acc-1", "--tsv", url=url).lines[0].split("\t")[1] == "T0"
    refused = run("cat", "order/17", "--tsv", url=url)
    assert refused.code == 1
    assert "'order/17' is no channel" in refused.err


def test_parts_of_a_channel(url: str) -> None:
    every = run("cat", "orders", url=url).lines
    ids = [line.split("\t")[0] for line in every]
    assert run("cat", "orders", "-n", "3", url=url).lines == every[-3:]
    assert run("cat", "orders", "--limit", "3", url=url).lines == every[:3]
    assert run("cat", "orders", "--since", ids[4], "--until", ids[7], url=url).lines == every[5:8]
    assert run("cat", "orders", "--event", "placed", url=url).lines == every
    assert run("cat", "orders", "--event", "none", url=url).lines == []
    unknown = run("cat", "orders", "--since", "nonsense", url=url)
    assert unknown.code == 1
    assert unknown.err.startswith("hub: ")


def test_parts_of_streams_and_views(url: str) -> None:
    every = run("cat", "_all", url=url).lines
    assert run("cat", "_all", "--since", "4", "--until", "6", url=url).lines == every[4:6]
    assert run("cat", "_all", "--tail", "3", url=url).lines == every[-3:]
    assert run("cat", "_all", "--until", "1000000", "--limit", "2", url=url).lines == every[:2]
    acc = run("cat", "acc-1", url=url).lines
    assert run("cat", "category/acc", url=url).lines == acc
    assert run("cat", "join?streams=acc-1,order/17", "--tail", "1", url=url).lines == every[-1:]
    assert run("cat", "query?types=T3", url=url).lines == acc[9:12]
    assert run("cat", "query?types=T3", "-n", "2", url=url).lines == acc[10:12]
    assert run("cat", "_all", "--event", "T3", url=url).lines == acc[9:12]
    assert run("cat", "of-type-t1", url=url).lines == acc[3:6]  # a derived stream


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["_all", "--since", "2026-11-20"], "--since of a stream that is no channel"),
        (["query?types=T3", "--limit", "1"], "a query takes neither --until nor --limit"),
        (["nothing-here"], "there is no channel or stream 'nothing-here'"),
        (["what?"], "'what?' is not a stream name"),
    ],
)
def test_what_cannot_be_read(arguments: list[str], reason: str, url: str) -> None:
    done = run("cat", *arguments, url=url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("hub: ")
    assert reason in done.err


def test_tail_and_limit_are_a_mistake(url: str) -> None:
    assert run("cat", "orders", "--tail", "1", "--limit", "1", url=url).code == 2


def test_a_pipe_whose_reader_has_enough_ends_quietly(server: HubProcess) -> None:
    damage.ask(server, "/long-one", b"\t\tline\n" * 300_000, "text/tab-separated-values")
    done = shell("hub cat long-one | head -1", server.url)
    assert (done.code, done.err) == (141, "")
    assert done.lines[0].endswith("\t\tline")


def test_clean_pipes_and_terminals(url: str) -> None:
    assert shell("hub cat orders | cut -f3 | tail -1", url).out == '{"n":19}\n'
    at = at_terminal("cat", "orders", url=url)
    assert at.out.replace("\r\n", "\n") == run("cat", "orders", url=url).out


def test_no_hub() -> None:
    done = run("cat", "orders", url="http://127.0.0.1:1")
    assert done.code == 1
    assert done.err.startswith("hub: no hub answers at http://127.0.0.1:1: ")
    assert "start one with 'hub serve'" in done.err


def test_not_a_hub(url: str) -> None:
    assert run("cat", "orders", "--url", "localhost:9000").code == 1
    wrong = run("cat", "orders", "--url", f"{url}/deeper")
    assert wrong.code == 1
    assert "404" in wrong.err or "nothing" in wrong.err
