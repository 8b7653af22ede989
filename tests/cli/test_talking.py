"""Which hub a command talks to, and what it says of one that is not there."""

from __future__ import annotations

import click
import pytest

from hub.cli.talking import URL, talk, url_option
from hub.client.connection import Connection
from hub.errors import InvalidRequest
from tests.cli.commands import run


def test_the_url() -> None:
    @click.command()
    @url_option
    def show(url: str) -> None:
        click.echo(url)

    from click.testing import CliRunner

    runner = CliRunner(env={"HUB_URL": None})
    assert runner.invoke(show).output == f"{URL}\n"
    assert runner.invoke(show, env={"HUB_URL": "http://a"}).output == "http://a\n"
    chosen = runner.invoke(show, ["--url", "http://b"], env={"HUB_URL": "http://a"})
    assert chosen.output == "http://b\n"


async def _ask(connection: Connection) -> None:
    await connection.request("GET", "/health")


def test_a_hub_that_is_not_there() -> None:
    with pytest.raises(click.ClickException, match="start one with 'hub serve'"):
        talk("http://127.0.0.1:1", _ask)
    with pytest.raises(InvalidRequest, match="is not the URL of a hub"):
        talk("nonsense", _ask)


def test_a_password_is_not_told() -> None:
    done = run("ls", url="http://ann:secret@127.0.0.1:1")
    assert done.code == 1
    assert "secret" not in done.err
