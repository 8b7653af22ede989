"""Every public method of the client has an example in its docstring, and it runs."""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from pathlib import Path
from typing import Any

import pytest

import hub.client
from hub.client import Hub
from tests.process import HubProcess

_METHODS = {
    f"{kind.__name__}.{name}": member
    for kind in (Hub, hub.client.Event)
    for name, member in inspect.getmembers(kind, inspect.isfunction)
    if not name.startswith("_") and member.__module__.startswith("hub.client")
}
_WITHOUT = {"Hub.close"}  # every test of it is one


def example_of(thing: Any) -> str:
    """The code behind `Example::`, as the body of a coroutine."""
    _, _, text = (inspect.getdoc(thing) or "").partition("Example::\n")
    return "async def example():\n" + textwrap.indent(textwrap.dedent(text), "    ")


async def run_example(text: str, client: Hub) -> None:
    names = {name: getattr(hub.client, name) for name in hub.client.__all__}
    names |= {"hub": client, "asyncio": asyncio}
    exec(compile(text, "example", "exec"), names)
    await names["example"]()


@pytest.mark.parametrize("name", sorted({*_METHODS, "Hub"} - _WITHOUT))
async def test_the_example_runs(
    name: str, server: HubProcess, client: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = example_of(_METHODS.get(name, Hub))
    assert text.count("\n") > 1, f"{name} has no example"
    await asyncio.wait_for(run_example(text, client), 20)


async def test_an_example_that_is_wrong_is_noticed(client: Hub) -> None:
    with pytest.raises(AssertionError):
        await run_example("async def example():\n    assert hub.url == 'x'", client)
