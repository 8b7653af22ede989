"""The examples of `hub.js` in docs/page.md: each of them does what is said of it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.posting import history, post
from tests.process import HubProcess, wait_until
from tests.web.ui.conftest import Window
from tests.web.ui.test_hub_js import subscribers

TEXT = (Path(__file__).parents[3] / "docs" / "page.md").read_text()


def example(number: int) -> str:
    """A block of the documentation, as the body of a function."""
    block = re.findall(r"^```js\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[number]
    imported = r'import (\{.*?\}) from "http://localhost:9000(.*?)";'
    body, count = re.subn(imported, r'const \1 = await import("\2");', block)
    assert count == 1
    return f"() => {{ window.ended = (async () => {{ {body} }})() }}"


def test_each_example(window: Window, own_hub: HubProcess) -> None:
    post(own_hub, "orders", '{"price": 4}', event="placed")
    page = window.open("/ui/icon.svg")
    told: list[str] = []
    page.on("console", lambda each: told.extend([each.text] if each.type == "log" else []))

    page.evaluate(example(0))
    post(own_hub, "orders", '{"price": 3}', event="placed")
    wait_until(lambda: bool(page.evaluate("1")) and len(told) == 2, "replay has both")
    assert [each.split(" ", 1)[1] for each in told] == ["placed {price: 4}", "placed {price: 3}"]

    page = window.open("/")
    page.evaluate(example(1))
    wait_until(lambda: page.title() == "7 sold", "the sum in the title")
    post(own_hub, "orders", '{"price": 2}', event="placed")
    wait_until(lambda: page.title() == "9 sold", "the next sum")

    page = window.open("/ui/icon.svg")
    wait_until(lambda: subscribers(own_hub) == 0, "the page before is left")
    page.evaluate(example(2))
    wait_until(lambda: subscribers(own_hub) == 1, "it follows")
    post(own_hub, "orders", "new")
    wait_until(lambda: bool(page.evaluate("1")) and told[-1] == "new", "what is new")
    page.evaluate("document.onclick()")
    page.evaluate("ended")

    page.evaluate(example(3))
    page.evaluate("ended")
    [report] = history(own_hub, "reports")
    assert report[:2] == ("counted", '{"open":3}')
