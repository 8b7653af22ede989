"""The command line: `hub serve`. Makes a flag and a variable of every option."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hub import __version__
from hub.errors import StartupError
from hub.options import Durability, Options, fault_of


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hub")
def main() -> None:
    """An HTTP event hub that keeps every event in a plain text file."""


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


@main.command()
@_flags
def serve(**values: Any) -> None:
    """Run the hub.

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
        run(Options(**values))
    except StartupError as error:
        raise click.ClickException(str(error)) from error
