"""Imports go one way: the table of layers in docs and code, held against what stands there.

Reads the source by `ast` and imports nothing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hub"


@dataclass(frozen=True)
class Layer:
    """Modules of one layer, the modules they may import beside each other, and what of others."""

    modules: frozenset[str]
    below: frozenset[str]
    libraries: frozenset[str]
    not_from_python: frozenset[str] = frozenset()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# A name stands for the module and, for a package, for all in it. `hub` itself
# has the version and nothing else, so that everybody may import it.
_VALUES = _set("hub hub.errors hub.event hub.options hub.formats hub.document")
_CORE = _VALUES | _set("hub.batch hub.commit hub.lines hub.sse hub.matcher hub.selector hub.window")
_SERVICES = _set("hub.blocks hub.subscription hub.streams hub.consumers")
_ENGINES = _set("hub.storage hub.engines")
LAYERS = {
    "core": Layer(_CORE, frozenset(), _set("msgspec"), _set("asyncio os socket threading")),
    "storage": Layer(_set("hub.storage"), _CORE, _set("aiofiles msgspec sortedcontainers")),
    "engines": Layer(_set("hub.engines"), _CORE | _set("hub.storage"), _set("aiofiles")),
    "services": Layer(_SERVICES, _CORE | _set("hub.engines.base"), _set("msgspec quickjs")),
    "web": Layer(
        _set("hub.web"),
        _CORE | _ENGINES | _SERVICES,
        _set("aiohttp aiofiles msgspec multidict prometheus_client"),
    ),
    "client": Layer(_set("hub.client"), _CORE, _set("aiohttp msgspec")),
    "front": Layer(
        _set("hub.cli hub.server hub.__main__"),
        _CORE | _ENGINES | _SERVICES | _set("hub.web hub.client"),
        _set("aiohttp click msgspec rich uvloop"),
    ),
}


def within(module: str, names: frozenset[str]) -> bool:
    """Whether a module is, or lies in, one of these."""
    return any(module == name or module.startswith(name + ".") for name in names if name != "hub")


def layer_of(module: str) -> str:
    """The one layer that a module belongs to."""
    found = [name for name, layer in LAYERS.items() if within(module, layer.modules)]
    if module == "hub":
        found = ["core"]
    assert len(found) == 1, f"{module} belongs to {found or 'no layer'}: see docs and this table"
    return found[0]


def modules() -> dict[str, Path]:
    """Every module of the package with its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, source: str, known: dict[str, Path]) -> Iterator[str]:
    """What a module imports, wherever in it the import stands; `from` resolved to modules."""
    package = module if module in known and known[module].stem == "__init__" else ""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = (package or module.rpartition(".")[0]).split(".")
                base = ".".join([*up[: len(up) - node.level + 1], *filter(None, [base])])
            for each in node.names:
                deeper = f"{base}.{each.name}"
                yield deeper if deeper in known else base
        elif isinstance(node, ast.Call) and _name(node.func) in ("__import__", "import_module"):
            yield "<computed>"


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def faults(module: str, source: str, known: dict[str, Path]) -> list[str]:
    """Each import of a module that goes against the table."""
    layer = LAYERS[layer_of(module)]
    found = []
    for each in imports_of(module, source, known):
        top = each.partition(".")[0]
        if top == "hub":
            allowed = each == "hub" or within(each, layer.modules | layer.below)
        elif top in sys.stdlib_module_names:
            allowed = top not in layer.not_from_python
        else:
            allowed = top in layer.libraries
        if not allowed:
            found.append(f"{module} must not import {each}")
    return found


@pytest.mark.parametrize("module", modules())
def test_no_import_goes_against_the_layers(module: str) -> None:
    known = modules()
    assert faults(module, known[module].read_text(), known) == []


def test_no_imports_go_round() -> None:
    known = modules()
    needs = {
        module: {each for each in imports_of(module, path.read_text(), known) if each in known}
        - {module, "hub"}
        for module, path in known.items()
    }
    while ready := [module for module, others in needs.items() if not others]:
        for each in ready:
            del needs[each]
        for others in needs.values():
            others.difference_update(ready)
    assert not needs, f"these import each other: {sorted(needs)}"


def test_the_root_exports_the_version_only() -> None:
    tree = ast.parse(modules()["hub"].read_text())
    names = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    assert names == ["__version__"]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hub.event", "import asyncio"),
        ("hub.event", "import asyncio.events"),
        ("hub.sse", "from os import path"),
        ("hub.formats", "def later():\n    import aiohttp"),
        ("hub.batch", "from hub import subscription"),
        ("hub.batch", "from . import subscription"),
        ("hub.batch", "from hub.storage.search import Selection"),
        ("hub.storage.writer", "from hub.engines import base"),
        ("hub.storage.writer", "from ..engines import base"),
        ("hub.storage.writer", "import aiohttp"),
        ("hub.engines.files", "from hub.subscription import Subscriptions"),
        ("hub.subscription", "from hub.engines.files import FilesEngine"),
        ("hub.subscription", "from hub.engines import files"),
        ("hub.subscription", "import hub.storage.store"),
        ("hub.subscription", "from aiohttp import web"),
        ("hub.web.app", "from hub.server import run"),
        ("hub.web.app", "import hub.cli"),
        ("hub.web.app", "import requests"),
        ("hub.web.app", "import importlib\nimportlib.import_module('hub.cli')"),
        ("hub.client", "from hub.web import app"),
    ],
)
def test_a_bad_import_is_found(module: str, source: str) -> None:
    assert len(faults(module, source, modules())) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hub.event", "import re\nfrom hub.errors import InvalidEvent\nimport msgspec"),
        ("hub.batch", "from .event import Event\nfrom hub import __version__"),
        ("hub.storage.writer", "import os, asyncio\nfrom hub.storage import logfile"),
        ("hub.storage", "from . import logfile"),
        ("hub.subscription", "import asyncio\nfrom hub.engines.base import Engine"),
        ("hub.web.app", "from hub.engines.base import Engine\nfrom aiohttp import web"),
        ("hub.cli", "from hub.web.app import make_app\nimport click"),
    ],
)
def test_a_good_import_passes(module: str, source: str) -> None:
    assert faults(module, source, modules()) == []


def test_a_module_of_no_layer_is_found() -> None:
    with pytest.raises(AssertionError, match="no layer"):
        layer_of("hub.utils")


@pytest.mark.parametrize("module", modules())
def test_lines_are_split_on_lf_only(module: str) -> None:
    tree = ast.parse(modules()[module].read_text())
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "splitlines" not in called
