"""`hub tail`: the last lines, and what comes: through restarts, once each."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.commands import COMMAND, Running, at_terminal, environment, run
from tests.conftest import RunHub
from tests.process import PATIENCE, HubProcess, wait_until
from tests.storage import damage


def post(hub: HubProcess, channel: str, *data: str, event: str = "") -> None:
    for each in data:
        damage.ask(hub, f"/{channel}?event={event}", each.encode())


def data_of(lines: list[str]) -> list[str]:
    return [line.split("\t")[2] for line in lines]


def test_the_last_lines(server: HubProcess) -> None:
    post(server, "last-ones", *map(str, range(15)))
    every = run("cat", "last-ones", url=server.url).lines
    assert run("tail", "last-ones", url=server.url).lines == every[-10:]
    assert run("tail", "-n", "3", "last-ones", url=server.url).lines == every[-3:]
    assert run("tail", "-n", "0", "last-ones", url=server.url).lines == []
    since = every[9].split("\t")[0]
    assert run("tail", "--since", since, "last-ones", url=server.url).lines == every[10:]


def test_several_names_are_told_apart(server: HubProcess) -> None:
    post(server, "one-of-two", "a", "b")
    post(server, "two-of-two", "c")
    done = run("tail", "one-of-two", "two-of-two", url=server.url)
    assert [line.split("\t")[0] for line in done.lines] == ["one-of-two"] * 2 + ["two-of-two"]


def test_a_name_that_is_not_there(url: str) -> None:
    done = run("tail", "not-there", url=url)
    assert (done.code, done.out) == (1, "")
    assert run("tail", "-f", "no/such", url=url).code == 1


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_following_begins_with_the_last_and_goes_on(options: list[str], server: HubProcess) -> None:
    channel = f"followed{len(options)}"
    post(server, channel, "one", "two", "three")
    with Running("tail", "-f", "-n", "2", *options, channel, url=server.url) as tail:
        assert "one" not in tail.wait_for("three")
        post(server, channel, "two\nlines")
        tail.wait_for("lines")
        done = tail.end()
    assert done.code == 130
    assert done.err == ""
    file = (server.events / f"{channel}.tsv").read_bytes().decode()
    if options:
        assert done.out == run("cat", "--json", "-n", "3", channel, url=server.url).out
    else:
        assert done.lines == file.split("\n")[1:-1]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_channel_that_comes_later(options: list[str], server: HubProcess) -> None:
    channel = f"later{len(options)}"
    with Running("tail", "-f", *options, channel, url=server.url) as tail:
        post(server, f"{channel}-other", "x")
        post(server, channel, "first", "second")
        tail.wait_for("second")
        assert len(tail.end().lines) == 2


def test_since_a_place(server: HubProcess) -> None:
    post(server, "from-place", "1", "2", "3")
    ids = [line.split("\t")[0] for line in run("cat", "from-place", url=server.url).lines]
    with Running("tail", "-f", "--since", ids[0], "from-place", url=server.url) as tail:
        tail.wait_for("\t3\n")
        post(server, "from-place", "4")
        tail.wait_for("\t4\n")
        assert data_of(tail.end().lines) == ["2", "3", "4"]
    with Running("tail", "-f", "--json", "--since", ids[1], "from-place", url=server.url) as tail:
        tail.wait_for('"data":"4"')
        post(server, "from-place", "5")
        tail.wait_for('"data":"5"')
        payloads = [json.loads(line)["payload"]["data"] for line in tail.end().lines]
    assert payloads == ["3", "4", "5"]


def test_events_of_a_type(server: HubProcess) -> None:
    post(server, "typed-ones", "1", event="A")
    post(server, "typed-ones", "2", event="B")
    for options in ([], ["--json"]):
        with Running("tail", "-f", "--event", "A", *options, "typed-ones", url=server.url) as tail:
            tail.wait_for("1")
            post(server, "typed-ones", "x", event="B")
            post(server, "typed-ones", "3", event="A")
            tail.wait_for("3")
            assert "x" not in tail.end().out.replace("index", "")


@pytest.mark.parametrize("name", ["_all", "category/cat", "cat/1", "query?types=T"])
def test_streams_and_views(name: str, server: HubProcess) -> None:
    damage.write_commit(server, "cat/1", 2)
    with Running("tail", "-f", "-n", "1", name, url=server.url) as tail:
        tail.wait_for('"n":1')
        damage.write_commit(server, "cat/1", 3)
        tail.wait_for('"n":2')
        numbers = [json.loads(line)["payload"]["n"] for line in tail.end().lines]
    assert numbers == [1, 0, 1, 2]


def test_ids_that_are_not_unique(server: HubProcess) -> None:
    same = b"".join(b"same\t\t%d\n" % number for number in range(30))
    damage.ask(server, "/same-ids", same, "text/tab-separated-values")
    with Running("tail", "-f", "-n", "2", "same-ids", url=server.url) as tail:
        tail.wait_for("\t29\n")
        damage.ask(server, "/same-ids", b"same\t\t30\n", "text/tab-separated-values")
        tail.wait_for("\t30\n")
        assert data_of(tail.end().lines) == ["28", "29", "30"]


@pytest.mark.parametrize("options", [["some-place"], ["--json", "some-place"], ["_all"]])
def test_restarts_are_not_seen(options: list[str], run_hub: RunHub) -> None:
    hub = run_hub("--retry", "50")
    post(hub, "some-place", "zero")
    with Running("tail", "-f", *options, url=hub.url) as tail:
        tail.wait_for("zero")
        for number in (1, 2):
            hub.restart() if number == 1 else (hub.kill(), hub.start())  # type: ignore[func-returns-value]
            post(hub, "some-place", f"after-{number}")
            tail.wait_for(f"after-{number}")
        done = tail.end()
    assert len(done.lines) == 3
    assert done.err == ""  # a note is for terminals


def test_a_person_is_told_of_a_restart(run_hub: RunHub) -> None:
    hub = run_hub("--retry", "50")
    post(hub, "some-place", "0")

    def restart_when_followed() -> None:
        wait_until(lambda: b'"subscribers":1,' in urlopen(f"{hub.url}/health").read(), "it follows")
        hub.restart()

    restart = threading.Thread(target=restart_when_followed)
    restart.start()
    done = at_terminal("tail", "-f", "some-place", url=hub.url, keys=b"\x03", after=b"trying again")
    assert "some-place: the connection broke" in done.out
    assert done.code == 130
    restart.join()


def test_it_ends_with_its_reader(server: HubProcess) -> None:
    post(server, "to-a-pipe", "1", "2")
    process = subprocess.Popen(
        [*COMMAND, "tail", "-f", "to-a-pipe"],
        stdout=subprocess.PIPE,
        env=environment(server.url),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()  # as `head -1` does; and nothing more is ever posted
    assert process.wait(PATIENCE) == -signal.SIGPIPE


def test_into_a_file(server: HubProcess, tmp_path: Path) -> None:
    post(server, "to-a-file", "1")
    with open(tmp_path / "out", "wb") as file:
        process = subprocess.Popen(
            [*COMMAND, "tail", "-f", "to-a-file"], stdout=file, env=environment(server.url)
        )
    wait_until(lambda: b"\t1\n" in (tmp_path / "out").read_bytes(), "the line is in the file")
    process.terminate()
    assert process.wait(PATIENCE) == -signal.SIGTERM


def test_what_does_not_go_together(url: str) -> None:
    assert run("tail", "-f", "--since", "x", "-n", "3", "any-name", url=url).code == 2
