"""docs/cli.md has every command with its options and example: it is made of their help.

`python -m tests.cli.test_reference` writes that part of the page anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from hub.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BEGIN = "<!-- what follows is made of the help of each command -->\n"
WIDTH = 92

COMMANDS = sorted(main.commands)


def help_of(name: str) -> str:
    command = main.commands[name]
    parent = click.Context(main, info_name="hub")
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    return command.get_help(context)


def reference() -> str:
    return "".join(f"\n### hub {name}\n\n```text\n{help_of(name)}\n```\n" for name in COMMANDS)


def section(name: str) -> str:
    """What the page says of a command, in single spaces."""
    found = re.search(rf"^### hub {name}\n(.*?)(?=^### |\Z)", PAGE.read_text(), re.M | re.S)
    assert found, f"cli.md says nothing of 'hub {name}': run python -m tests.cli.test_reference"
    return " ".join(found[1].split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_documented_with_its_options(name: str) -> None:
    text = section(name)
    command = main.commands[name]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for each in parameter.opts:
                assert each in text, f"cli.md says nothing of 'hub {name} {each}'"
            assert parameter.help
            assert " ".join(parameter.help.split()) in text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_an_example_which_is_documented(name: str) -> None:
    told = main.commands[name].help
    assert told is not None
    example = told.partition("Example:\n")[2]
    lines = [line for line in example.split("\n") if line.strip()]
    assert any(re.search(rf"\bhub {name}\b", line) for line in lines)
    for line in lines:
        assert " ".join(line.split()) in section(name)


if __name__ == "__main__":
    kept = PAGE.read_text().partition(BEGIN)[0]
    PAGE.write_text(kept + BEGIN + reference())
