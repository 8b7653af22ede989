"""`hub serve`: every option is a flag and a variable, and bad values are told plainly."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import hub.server
from hub import __version__
from hub.cli import main
from hub.errors import StartupError
from hub.options import Durability, Options

FIELDS = dataclasses.fields(Options)

OTHERS: dict[str, tuple[str, Any]] = {
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("9001", 9001),
    "events": ("elsewhere", Path("elsewhere")),
    "durability": ("interval", Durability.INTERVAL),
    "sync_interval": ("0.5", 0.5),
    "cors": ("https://a.example", ("https://a.example",)),
    "max_event_bytes": ("1000", 1000),
    "max_request_bytes": ("2000", 2000),
    "max_held_bytes": ("4000000", 4000000),
    "max_id_bytes": ("30", 30),
    "max_type_bytes": ("40", 40),
    "max_subscriptions": ("5", 5),
    "max_connections": ("6", 6),
    "idle_timeout": ("2.5", 2.5),
    "body_timeout": ("3.5", 3.5),
    "heartbeat": ("2.5", 2.5),
    "retry": ("100", 100),
    "max_consumers": ("7", 7),
    "consumer_workers": ("3", 3),
    "consumer_seconds": ("0.5", 0.5),
    "consumer_memory_bytes": ("5000000", 5000000),
    "max_state_bytes": ("6000", 6000),
    "max_handler_bytes": ("700", 700),
    "read_timeout": ("1.5", 1.5),
    "type_key": ("kind", "kind"),
    "tags_key": ("labels", "labels"),
    "access_log": ("true", True),
}
"""A value of each option other than its default: in words, and as the hub gets it."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """The options that `serve` was started with; nothing is really served."""
    started: list[Options] = []
    monkeypatch.setattr(hub.server, "run", lambda options, announce: started.append(options))
    for field in FIELDS:
        monkeypatch.delenv(variable(field.name), raising=False)
    return started


def variable(name: str) -> str:
    return f"HUB_{name.upper()}"


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def call(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, arguments, env=env, prog_name="hub")


def help_of(option: str) -> str:
    """The paragraph of `hub serve --help` on an option, as one line."""
    text = call("serve", "--help").output
    paragraphs = re.split(r"\n  (?=-)", text)
    return next(" ".join(each.split()) for each in paragraphs if each.startswith(option))


def test_each_option_has_another_value_in_this_test() -> None:
    assert list(OTHERS) == [field.name for field in FIELDS]
    for field in FIELDS:
        assert OTHERS[field.name][1] != field.default


def test_without_arguments_all_is_default(served: list[Options]) -> None:
    assert call("serve").exit_code == 0
    assert served == [Options()]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_option_is_a_flag(field: dataclasses.Field[Any], served: list[Options]) -> None:
    words, value = OTHERS[field.name]
    result = call("serve", flag(field.name), *(() if value is True else (words,)))
    assert result.exit_code == 0, result.output
    assert served == [dataclasses.replace(Options(), **{field.name: value})]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_each_option_is_a_variable(field: dataclasses.Field[Any], served: list[Options]) -> None:
    words, value = OTHERS[field.name]
    result = call("serve", env={variable(field.name): words})
    assert result.exit_code == 0, result.output
    assert served == [dataclasses.replace(Options(), **{field.name: value})]


def test_a_flag_wins_over_its_variable(served: list[Options]) -> None:
    call("serve", "--port", "1", env={"HUB_PORT": "2"})
    assert served == [Options(port=1)]


def test_several_origins(served: list[Options]) -> None:
    both = ("https://a.example", "https://b.example")
    call("serve", "--cors", both[0], "--cors", both[1])
    call("serve", env={"HUB_CORS": " ".join(both)})
    assert served == [Options(cors=both)] * 2


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_help_explains_each_option(field: dataclasses.Field[Any]) -> None:
    text = help_of(flag(field.name))
    assert field.metadata["help"] in text
    assert f"env var: {variable(field.name)}" in text
    if field.default not in ((), False):
        assert f"default: {field.default}" in text


def test_help_and_version() -> None:
    assert "serve" in call("--help").output
    assert __version__ in call("--version").output
    assert call("serve", "-h").output == call("serve", "--help").output


BAD = [
    ("port", "abc"),
    ("port", "1.5"),
    ("durability", "never"),
    ("heartbeat", "soon"),
    ("max_event_bytes", "1k"),
    ("max_subscriptions", ""),
    ("events", __file__),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_flag_is_told(name: str, value: str, served: list[Options]) -> None:
    result = call("serve", flag(name), value)
    assert result.exit_code == 2
    assert flag(name) in result.output
    assert "hub: " in result.output
    assert not served


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, v in [*BAD, ("access_log", "x")] if v])
def test_a_bad_variable_is_told(name: str, value: str, served: list[Options]) -> None:
    result = call("serve", env={variable(name): value})
    assert result.exit_code == 2
    assert variable(name) in result.output
    assert not served


# These would start a hub that does something else than what was asked for.
OUT_OF_RANGE = [
    ("port", "70000"),
    ("port", "-1"),
    ("sync_interval", "0"),
    ("sync_interval", "nan"),
    ("max_event_bytes", "-1"),
    ("max_request_bytes", "0"),
    ("max_held_bytes", "0"),
    ("max_id_bytes", "0"),
    ("max_id_bytes", "2049"),
    ("max_type_bytes", "-1"),
    ("max_subscriptions", "-1"),
    ("heartbeat", "0"),
    ("heartbeat", "nan"),
    ("retry", "-1"),
    ("cors", "example.com"),
    ("cors", "https://example.com/page"),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_told(name: str, value: str, served: list[Options]) -> None:
    result = call("serve", flag(name), value)
    assert result.exit_code == 2
    assert flag(name) in result.output
    assert not served


def test_what_is_no_option_is_told(served: list[Options]) -> None:
    for arguments in (["serve", "--nope"], ["serve", "nope"], ["nope"]):
        result = call(*arguments)
        assert result.exit_code == 2
        assert "hub: " in result.output
    assert not served


def test_a_hub_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: Options, announce: object) -> None:
        raise StartupError("there is no room")

    monkeypatch.setattr(hub.server, "run", run)
    result = call("serve")
    assert (result.exit_code, result.output) == (1, "hub: there is no room\n")
