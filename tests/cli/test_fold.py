"""`hub fold`: a state from events, in either language, once or live."""

from __future__ import annotations

import json

import pytest

from tests.cli.commands import Running, at_terminal, run
from tests.process import HubProcess
from tests.storage import damage

SUM = "(sum, event) => sum + event.json.n"


@pytest.fixture(scope="module", autouse=True)
def written(server: HubProcess) -> None:
    damage.write(server)


@pytest.mark.parametrize(
    ("expression", "options", "state"),
    [
        (SUM, ["--initial", "0"], 190),
        ("(s, e) => { s[e.type] = (s[e.type] ?? 0) + 1 }", [], {"placed": 20}),
        ("state + event.json()['n']", ["--initial", "0"], 190),
        ("lambda n, event: n + len(event.data)", ["--initial", "0"], 150),
        ("[event.event for _ in [state]]", ["--initial", "[]"], ["placed"]),
        (SUM, ["--initial", "0", "--event", "none"], 0),
        ("state", ["--initial", '"text"'], "text"),
        ("lambda a, b: '=>'", [], "=>"),
        ("a => a", ["--lang", "js"], {}),
    ],
)
def test_the_state(expression: str, options: list[str], state: object, url: str) -> None:
    done = run("fold", expression, "orders", *options, url=url)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == state


def test_streams(url: str) -> None:
    seen = (
        "(s, e) => [e.id, e.type, e.data, e.stream, e.json.n, typeof e.metadata.id, e.time > 1e12]"
    )
    done = run("fold", seen, "category/acc", url=url)
    data = '{"type":"T4","tags":["a:1"],"n":2}'
    assert json.loads(done.out) == ["15", "T4", data, "acc-1", 2, "string", True]
    python = run("fold", "[event.stream, event.type, event.payload['n']]", "_all", url=url)
    assert python.code == 1  # it uses no state, but it uses event; of a channel there is no key n
    assert "KeyError" in python.err
    python = run("fold", "[event.stream, event.type]", "_all", "--event", "T4", url=url)
    assert json.loads(python.out) == ["acc-1", "T4"]


def test_each_state(url: str) -> None:
    states = run("fold", SUM, "orders", "--initial", "0", "--scan", url=url).lines
    assert [int(each) for each in states] == [n * (n + 1) // 2 for n in range(20)]


@pytest.mark.parametrize("scan", [True, False])
def test_live(scan: bool, server: HubProcess) -> None:
    channel = f"counted-{scan}"
    damage.ask(server, f"/{channel}", b"x")
    options = ["--scan"] if scan else []
    count = ["fold", "-f", "state + 1", channel, "--initial", "0", *options]
    with Running(*count, url=server.url) as fold:
        fold.wait_for("1\n")
        damage.ask(server, f"/{channel}", b"x")
        fold.wait_for("2\n")
        done = fold.end()
    assert (done.code, done.out, done.err) == (130, "1\n2\n", "")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(s, e) =>\n e.json.a.b", "at event 2"),
        ("(s, e) =>\n e.json.a.b", "of undefined (line 2)"),
        ("(s, e) => ", "the expression does not do: SyntaxError"),
        ("(s, e) => { for (;;); }", "longer than"),
        ("(s, e) => Date.now()", "there is no clock here"),
        ("state +", "the expression is no Python"),
        ("state + nothing", "NameError: name 'nothing' is not defined"),
        ("3", "uses neither state nor event"),
        ("{1: event, 2: state, 3: open}", "cannot be written as JSON"),
    ],
)
def test_what_does_not_do(
    expression: str, reason: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("fold", expression, "orders", url=url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("hub: ")
    assert reason in done.err


def test_an_initial_state_that_is_no_json(url: str) -> None:
    done = run("fold", SUM, "orders", "--initial", "{x}", url=url)
    assert done.code == 1
    assert "the initial state is not JSON" in done.err
    assert run("fold", SUM, "orders", "-f", "--until", "x", url=url).code == 2


def test_at_a_terminal_the_state_has_lines_and_colours(url: str) -> None:
    done = at_terminal("fold", "(s, e) => ({n: e.json.n})", "orders", url=url)
    assert "\x1b[" in done.out
    assert '"n"' in done.out
    plain = at_terminal("fold", "(s, e) => ({n: e.json.n})", "orders", url=url, NO_COLOR="1")
    assert '{\r\n  "n": 19\r\n}\r\n' in plain.out
