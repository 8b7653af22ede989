"""Completion: of names by the hub, of nothing without one, in three shells."""

from __future__ import annotations

import time

import pytest

from tests.cli.commands import run
from tests.process import HubProcess
from tests.storage import damage


def completed(words: str, url: str) -> list[str]:
    count = str(len(words.split(" ")) - 1)
    done = run(url=url, _HUB_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    assert done.err == ""
    return [line.partition(",")[2] for line in done.lines if line]


def test_commands_options_and_names(server: HubProcess) -> None:
    for name in ("orders", "order-2", "payments"):
        damage.ask(server, f"/{name}", b"x")
    assert completed("hub ver", server.url) == ["verify"]
    assert completed("hub tail --fol", server.url) == ["--follow"]
    assert completed("hub tail ord", server.url) == ["order-2", "orders"]
    assert completed("hub publish pay", server.url) == ["payments"]
    assert completed(f"hub cat --url {server.url} pay", "http://127.0.0.1:1") == ["payments"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "nonsense", "http://192.0.2.1:9", "https://[x"]
)
def test_without_a_hub_there_is_nothing_soon(url: str) -> None:
    began = time.monotonic()
    assert completed("hub tail ord", url) == []
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str) -> None:
    done = run("completion", shell)
    assert done.code == 0
    assert f"_HUB_COMPLETE={shell}_complete" in done.out
