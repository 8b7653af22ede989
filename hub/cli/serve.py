"""`hub serve`: runs the hub. Makes a flag and a variable of every option."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from hub.cli.talking import URL
from hub.cli.terminal import is_terminal
from hub.errors import StartupError
from hub.options import Durability, Options, fault_of


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    for each in reversed(dataclasses.fields(Options)):
        command = _flag(each)(command)
    return command


def _flag(option: dataclasses.Field[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    settings: dict[str, Any] = {"default": option.default, "type": type(option.default)}
    if isinstance(option.default, Durability):
        settings["type"] = click.Choice([each.value for each in Durability])
        settings["default"] = option.default.value
    elif isinstance(option.default, bool):
        settings["is_flag"] = True
    elif isinstance(option.default, tuple):
        settings |= {"multiple": True, "type": str, "metavar": "ORIGIN"}
    elif isinstance(option.default, Path):
        settings["type"] = click.Path(path_type=Path, file_okay=False)

    def check(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        fault = fault_of(option, value)
        if fault:
            raise click.BadParameter(fault)
        return value

    return click.option(
        f"--{option.name.replace('_', '-')}",
        envvar=f"HUB_{option.name.upper()}",
        show_envvar=True,
        show_default=True,
        help=option.metadata["help"],
        callback=check,
        **settings,
    )


@click.command()
@_flags
def serve(**values: Any) -> None:
    """Run the hub, until Ctrl-C or SIGTERM.

    It keeps all events in one directory, of which it is the only hub; anybody may read
    that. Each option is also an environment variable.

    \b
    Example:
      hub serve --port 9000 --events ./events
    """
    from hub.server import run  # aiohttp loads only for the server

    values["durability"] = Durability(values["durability"])
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        run(Options(**values), _greet if is_terminal(sys.stderr) else None)
    except StartupError as error:
        raise click.ClickException(str(error)) from error


def _greet(url: str) -> None:
    """Tell a person at a terminal what to do next."""
    url = url.replace("//0.0.0.0:", "//localhost:").replace("//[::]:", "//localhost:")
    there = "" if urlsplit(url).port == urlsplit(URL).port else f" --url {url}"
    click.echo(
        f"""
The hub is running. Its page:   {url}/
In another terminal, follow:    hub tail -f{there} greetings
and publish:                    hub publish{there} greetings 'Hello world'
Ctrl-C ends the hub.
""",
        err=True,
    )
