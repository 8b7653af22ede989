"""Completion in shells: `hub completion`, and names of channels and streams from the hub.

Owns that a shell never waits for a hub, nor hears of one that is not there. It does
without the client, which takes longer to import than an answer takes to come.
"""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlencode, urlsplit

import click
from click.shell_completion import CompletionItem, get_completion_class

from hub.cli.talking import URL

SECONDS = 0.5
"""What a shell waits for a hub."""

NAMES = 200
"""The most names that are offered."""

SHELLS = ("bash", "zsh", "fish")


def complete_names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of channels and streams that begin like this; none if the hub does not answer."""
    try:
        found = _names(context.params.get("url") or URL, incomplete)
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return []
    return [CompletionItem(name) for name in found]


def _names(url: str, prefix: str) -> list[str]:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        query = urlencode({"prefix": prefix, "limit": NAMES})
        connection.request("GET", f"{parts.path.rstrip('/')}/streams?{query}")
        return [each["stream"] for each in json.load(connection.getresponse())["streams"]]
    finally:
        connection.close()


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete the words of `hub`: commands, options, and the names
    of channels and streams, which it asks the hub for.

    \b
    Example:
      eval "$(hub completion bash)"             in ~/.bashrc
      eval "$(hub completion zsh)"              in ~/.zshrc
      hub completion fish > ~/.config/fish/completions/hub.fish
    """
    made = get_completion_class(shell)
    if made is None:
        raise click.ClickException(f"there is no completion for {shell}")
    program = context.find_root().command
    click.echo(made(program, {}, "hub", "_HUB_COMPLETE").source())
