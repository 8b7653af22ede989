"""The page in Chromium, as people use it, against a hub process."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.posting import history, post
from tests.process import PATIENCE, HubProcess, wait_until
from tests.web.ui.conftest import Window
from tests.web.ui.test_hub_js import TSV, send, subscribers

LIVE = ".state[data-state=live]"
ROWS = ".virtual [role=option]"


def open_live(window: Window, path: str) -> Page:
    """Open a view that follows; return when it does."""
    page = window.open(path)
    expect(page.locator(LIVE)).to_be_visible()
    return page


def commit(hub: HubProcess, stream: str, *events: dict[str, Any]) -> None:
    send(hub, f"/streams/{quote(stream, safe='')}/commit", json.dumps({"events": events}))


def many(hub: HubProcess, channel: str, count: int, data: str = '{{"n": {}}}') -> None:
    send(hub, f"/{channel}", "".join(f"\ta\t{data.format(n)}\n" for n in range(count)), TSV)


def listed(page: Page) -> list[str]:
    return page.locator(".stream-row .name").all_inner_texts()


def state_of(page: Page) -> Locator:
    return page.locator(".fold-state section").first


# All streams.


def test_the_list_updates_by_itself(window: Window, own_hub: HubProcess) -> None:
    page = window.open("/")
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    post(own_hub, "b-channel", "one")
    commit(own_hub, "order/17", {"type": "Placed"}, {"type": "Paid"})
    expect(page.locator(".stream-row")).to_have_count(2)
    assert listed(page) == ["b-channel", "order/17"]
    row = page.locator(".stream-row").first
    expect(row).to_contain_text(re.compile(r"b-channel1\d\d B\d s|b-channel1\d\d B"))
    for _ in range(30):
        post(own_hub, "b-channel", "more")
    expect(row).to_contain_text("31")
    expect(row.locator(".rate")).to_contain_text("/s")
    expect(row.locator(".spark path")).to_have_attribute("d", re.compile("L"))
    assert subscribers(own_hub) == 0
    page.get_by_role("button", name="Events", exact=True).click()
    expect(page.locator(".stream-row .name").first).to_have_text("b-channel")
    page.get_by_text("order/17").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("order/17")
    assert page.url == f"{own_hub.url}/streams/order%2F17"
    page.go_back()
    expect(page.locator(".stream-row")).to_have_count(2)
    assert page.url.endswith("/?by=events")


def test_a_derived_stream_opens_from_the_list(window: Window, own_hub: HubProcess) -> None:
    commit(own_hub, "order/17", {"type": "Placed"}, {"type": "Paid"})
    send(own_hub, "/streams/placed", json.dumps({"payload": {"type": "Placed"}}), method="PUT")
    page = window.open("/")
    page.get_by_text("placed", exact=True).click()
    expect(page.locator(".event-row")).to_have_count(1)
    assert page.url == f"{own_hub.url}/streams/placed"


def test_search_by_keyboard(window: Window, own_hub: HubProcess) -> None:
    for number in range(30):
        post(own_hub, f"channel-{number}", "x")
    page = window.open("/")
    expect(page.locator(".summary").first).to_contain_text("30 streams")
    page.keyboard.press("/")
    page.keyboard.type("2 CHANNEL-")
    expect(page.locator(".summary").first).to_contain_text("12 of 30 streams")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("channel-2")
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("2 CHANNEL-")


def test_ten_thousand_channels(window: Window, own_hub: HubProcess) -> None:
    own_hub.stop()
    for number in range(10_000):
        line = "2026-11-20T11:40:10.793214Z\t\tx\n"
        (own_hub.events / f"channel-{number:05}.tsv").write_text(line)
    own_hub.start()
    page = window.open("/")
    expect(page.locator(".summary").first).to_contain_text("10,000 streams")
    assert page.locator(".stream-row").count() < 60
    page.locator(".virtual").focus()
    page.keyboard.press("End")
    expect(page.get_by_text("channel-09999")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("channel-09999")


# One channel or stream.


def test_what_is_posted_on_the_page_arrives_there(window: Window, own_hub: HubProcess) -> None:
    page = open_live(window, "/a-channel")
    expect(page.get_by_role("heading", level=1)).to_have_text("a-channel")
    page.get_by_label("Type", exact=True).fill("placed")
    page.get_by_label("Data: text or JSON").fill('{"item": "tea",\n "price": 4}')
    page.keyboard.press("Control+Enter")
    expect(page.locator(ROWS)).to_contain_text(re.compile("placed.*item tea price 4"))
    expect(page.locator(".told")).to_contain_text("Stored: 20")
    [event] = history(own_hub, "a-channel")
    assert event[:2] == ("placed", '{"item": "tea",\n "price": 4}')
    page.get_by_label("Type", exact=True).fill("with\ttab")
    page.get_by_role("button", name="Post", exact=True).last.click()
    expect(page.locator(".told")).to_contain_text("TAB")
    window.expected = ("422",)


def test_a_row_does_not_repeat_what_stands_beside_it(window: Window, own_hub: HubProcess) -> None:
    post(own_hub, "a-channel", '{"stream": "a-channel", "type": "t", "n": 1}', event="t")
    post(own_hub, "a-channel", '{"stream": "another", "type": "u", "n": 2}', event="t")
    page = open_live(window, "/a-channel")
    expect(page.locator(".event-row .what")).to_have_text(["n 1", "stream another type u n 2"])
    page = open_live(window, "/streams/_all")
    expect(page.locator(".event-row .of")).to_have_text(["a-channel", "a-channel"])


def test_a_stream_that_is_no_channel_is_committed_to(window: Window, own_hub: HubProcess) -> None:
    commit(own_hub, "order/17", {"type": "Placed"})
    page = open_live(window, "/streams/order%2F17")
    page.get_by_role("button", name="Post").click()
    page.get_by_label("Type", exact=True).fill("Paid")
    page.get_by_label("Payload: a JSON object").fill('{"amount": 5}')
    page.get_by_role("button", name="Commit").click()
    expect(page.locator(ROWS).nth(1)).to_contain_text("Paidamount 5")
    page.get_by_label("Payload: a JSON object").fill("{no")
    page.get_by_role("button", name="Commit").click()
    expect(page.locator(".told[data-state=error]")).to_contain_text("JSON")


def test_every_event_once_through_a_kill(window: Window, own_hub: HubProcess) -> None:
    for number in range(20):
        post(own_hub, "a-channel", f"before {number}")
    page = open_live(window, "/a-channel")
    expect(page.locator(".summary").first).to_have_text("20 events")
    for life in range(2):
        own_hub.kill()
        expect(page.locator(".state[data-state=waiting]")).to_be_visible()
        own_hub.start()
        expect(page.locator(LIVE)).to_be_visible()
        post(own_hub, "a-channel", f"after {life}")
        expect(page.locator(ROWS).filter(has_text=f"after {life}")).to_have_count(1)
    expect(page.locator(".summary").first).to_have_text("22 events")
    assert subscribers(own_hub) == 1


def test_another_history_is_shown_from_its_start(window: Window, own_hub: HubProcess) -> None:
    post(own_hub, "a-channel", "lost", id="lost: 1")
    page = open_live(window, "/a-channel")
    own_hub.stop()
    shutil.rmtree(own_hub.events)
    own_hub.events.mkdir()
    (own_hub.events / "a-channel.tsv").write_text("new-1\ttype\tone\nnew-2\t\ttwo\n")
    own_hub.start()
    expect(page.locator(".notice")).to_contain_text("another history")
    expect(page.locator(ROWS)).to_have_count(2)
    expect(page.locator(".virtual")).not_to_contain_text("lost")


def test_events_are_text(window: Window, own_hub: HubProcess) -> None:
    evil = '<img src=x onerror="window.evil=1"><script>window.evil=1</script>'
    post(own_hub, "a-channel", evil, event=evil, id=evil)
    post(own_hub, "a-channel", json.dumps({evil: evil, "a": {evil: [evil]}}), event="json")
    page = open_live(window, "/a-channel")
    expect(page.locator(ROWS).first).to_contain_text(evil)
    for row in (0, 1):
        page.locator(ROWS).nth(row).click()
        expect(page.locator(".panel")).to_contain_text(evil)
    page.get_by_role("button", name="Use this view").click()
    page.get_by_role("button", name="Post", exact=True).first.click()
    page.locator(".chips a").first.click()
    page.get_by_role("button", name="Use this view").click()
    expect(page.locator(".panel")).to_contain_text("curl")
    page.goto(f"{own_hub.url}/a-channel#fold")
    page.get_by_label("Example").select_option("Last of each type")
    expect(state_of(page)).to_contain_text(evil)
    page.goto(f"{own_hub.url}/streams/{quote('<img src=x onerror=evil=1>')}")
    expect(page.get_by_role("heading", level=1)).to_have_text("<img src=x onerror=evil=1>")
    expect(page.locator(".notice")).to_contain_text("<img")
    assert page.evaluate("typeof window.evil") == "undefined"
    assert page.locator("main img, main script").count() == 0
    window.expected = ("400 (Bad Request)",)


def test_ten_thousand_events_in_the_tail(window: Window, own_hub: HubProcess) -> None:
    many(own_hub, "a-channel", 10_000)
    page = open_live(window, "/a-channel")
    expect(page.locator(ROWS).filter(has_text=re.compile("n 9999$"))).to_be_visible()
    assert page.locator(ROWS).count() < 80
    # Each of these is one frame or two: nothing hangs.
    page.evaluate(
        """() => {
          window.longest = 0
          new PerformanceObserver((list) => {
            for (const { duration } of list.getEntries()) longest = Math.max(longest, duration)
          }).observe({ type: 'longtask' })
        }"""
    )
    send(own_hub, "/a-channel", "\tb\tmore\n" * 10_000, TSV)
    expect(page.locator(".summary").first).to_have_text("20,000 events")
    page.locator(".virtual").focus()
    page.keyboard.press("Home")
    expect(page.locator(ROWS).filter(has_text=re.compile("n 0$"))).to_be_visible()
    page.keyboard.press("End")
    page.keyboard.press("PageUp")
    expect(page.locator("[aria-selected=true]")).to_be_visible()
    assert page.locator(ROWS).count() < 80
    assert page.evaluate("longest") < 1000


def test_older_events_of_a_large_log(
    window: Window, own_hub: HubProcess, chromium: Browser
) -> None:
    many(own_hub, "a-channel", 4000, '{{"n": {}, "x": "' + "x" * 9000 + '"}}')
    for path in ("/a-channel", "/streams/a-channel"):
        page = open_live(window, path)
        expect(page.locator(".summary").first).to_have_text("1,000 events of 4,000")
        top = page.locator(".virtual")
        for expected in ("2,000 events of 4,000", "3,000 events of 4,000", "4,000 events"):
            top.evaluate("(list) => { list.scrollTop = 0 }")
            expect(page.locator(".summary").first).to_have_text(expected)
        top.evaluate("(list) => { list.scrollTop = 0 }")
        expect(page.locator(ROWS).first).to_contain_text("n 0")
        shown = [int(row.split(" x ")[0].split("n ")[-1]) for row in sorted_rows(page)]
        assert shown == list(range(len(shown)))


def test_of_large_events_fewer_are_read_at_a_time(window: Window, own_hub: HubProcess) -> None:
    for first in range(0, 60, 20):
        many(
            own_hub,
            "a-channel",
            20,
            f'{{{{"n": {{}}, "of": {first}, "x": "' + "x" * 1_000_000 + '"}}',
        )
    page = open_live(window, "/a-channel")
    expect(page.locator(".summary").first).to_have_text("32 events of 60")
    page.locator(".virtual").evaluate("(list) => { list.scrollTop = 0 }")
    expect(page.locator(".summary").first).to_have_text("60 events")


def test_a_large_log_is_read_whole_if_somebody_wants_it(
    window: Window, own_hub: HubProcess
) -> None:
    many(own_hub, "a-channel", 4000, '{{"n": {}, "x": "' + "x" * 9000 + '"}}')
    page = open_live(window, "/a-channel")
    expect(page.locator(".chips")).to_contain_text("1,000")
    page.get_by_role("link", name="Read all").click()
    expect(page.locator(".summary").first).to_have_text("4,000 events")
    expect(page.locator(".chips")).to_contain_text("4,000")
    expect(page.get_by_role("link", name="Read all")).to_be_hidden()


def sorted_rows(page: Page) -> list[str]:
    """The texts of the rows that exist, from the top."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('.virtual [role=option]')]
          .sort((a, b) => a.dataset.number - b.dataset.number)
          .map((row) => row.querySelector('.what').textContent)"""
    )
    return found


def test_pause_and_new_events(window: Window, own_hub: HubProcess) -> None:
    many(own_hub, "a-channel", 200)
    page = open_live(window, "/a-channel")
    last = page.locator(ROWS).filter(has_text=re.compile("n 199$"))
    expect(last).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    post(own_hub, "a-channel", "meanwhile")
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    expect(page.locator(".state")).to_have_text("Paused")
    assert page.locator(ROWS).filter(has_text="meanwhile").count() == 0
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(ROWS).filter(has_text="meanwhile")).to_be_visible()
    # Whoever looks at something older stays there.
    page.locator(".virtual").focus()
    page.keyboard.press("Home")
    first = page.locator(ROWS).filter(has_text=re.compile("n 0$"))
    expect(first).to_be_visible()
    for number in range(3):
        post(own_hub, "a-channel", f"later {number}")
    page.get_by_role("button", name="3 new").click()
    expect(page.locator(ROWS).filter(has_text="later 2")).to_be_visible()
    expect(first).to_have_count(0)


def test_replay_from_the_start_or_a_time(window: Window, own_hub: HubProcess) -> None:
    lines = "".join(f"2026-01-{day:02}T00:00:00.000000Z\t\tday {day}\n" for day in range(1, 29))
    send(own_hub, "/a-channel", lines * 1, TSV)
    page = open_live(window, "/a-channel")
    page.get_by_label("After this time").fill("2026-01-20T12:00Z")
    page.keyboard.press("Enter")
    expect(page.locator(".summary").first).to_have_text("8 events")
    expect(page.locator(ROWS).first).to_contain_text("day 21")
    assert page.url.endswith("?since=2026-01-20T12%3A00Z")
    page.get_by_role("link", name="From the start").click()
    expect(page.locator(".summary").first).to_have_text("28 events")
    expect(page.locator(ROWS).first).to_be_in_viewport()
    page.get_by_label("After this time").fill("no time")
    page.keyboard.press("Enter")
    expect(page.locator(".notice")).to_contain_text("no time")
    window.expected = ("422",)


def test_a_long_history_is_read_as_far_as_somebody_looks(
    window: Window, own_hub: HubProcess
) -> None:
    many(own_hub, "a-channel", 100_000)
    page = window.open("/a-channel?since=start")
    expect(page.locator(".state[data-state=resting]")).to_be_visible()
    read = page.locator(".summary").first.inner_text()
    assert int(read.split()[0].replace(",", "")) < 60_000
    for _ in range(20):
        page.locator(".virtual").evaluate("(list) => { list.scrollTop = list.scrollHeight }")
        if page.locator(LIVE).count():
            break
        page.wait_for_timeout(100)
    expect(page.locator(".summary").first).to_have_text("100,000 events")


def test_types_are_counted_and_picked(window: Window, own_hub: HubProcess) -> None:
    for number, event in enumerate(["placed", "placed", "placed", "paid", ""]):
        post(own_hub, "a-channel", str(number), event=event)
    page = open_live(window, "/a-channel")
    chips = page.locator(".chips [role=listitem]")
    expect(chips).to_have_text(["placed360 %", "no type120 %", "paid120 %"])
    widths = page.locator(".mix-bar span").evaluate_all("(all) => all.map((e) => e.style.flexGrow)")
    assert widths == ["3", "1", "1"]
    page.get_by_role("link", name="paid").click()
    expect(page.locator(ROWS)).to_have_count(1)
    assert page.url.endswith("/a-channel?event=paid")
    post(own_hub, "a-channel", "no", event="placed")
    post(own_hub, "a-channel", "yes", event="paid")
    expect(page.locator(ROWS)).to_have_count(2)
    page.get_by_role("link", name="paid").click()
    expect(page.locator(ROWS)).to_have_count(7)


def test_many_types_and_one_colour_for_the_rest(window: Window, own_hub: HubProcess) -> None:
    for number in range(12):
        send(own_hub, "/a-channel", f"\ttype-{number}\tx\n" * (20 - number), TSV)
    page = open_live(window, "/a-channel")
    chips = page.locator(".chips [role=listitem]")
    expect(chips).to_have_count(8)
    expect(chips.last).to_have_text("others5532 %")
    before = chip_colours(page)
    assert len(set(before.values())) == 8
    # Others become many, and take the place of one; all that stay keep their colours.
    send(own_hub, "/a-channel", "\ttype-11\tx\n" * 100, TSV)
    expect(chips).to_contain_text(["type-11"])
    after = chip_colours(page)
    assert len(set(after.values())) == 8
    assert {name: after[name] for name in before if name in after} == {
        name: before[name] for name in before if name in after
    }


def chip_colours(page: Page) -> dict[str, str]:
    found: dict[str, str] = page.locator(".chips .chip").evaluate_all(
        """(chips) => Object.fromEntries(chips.map((chip) =>
          [chip.querySelector('b').textContent, chip.querySelector('.dot').style.background]))"""
    )
    return found


def test_the_lines_to_copy_do_what_the_view_shows(window: Window, own_hub: HubProcess) -> None:
    first = post(own_hub, "a-channel", "one", event="it's")
    post(own_hub, "a-channel", "two", event="it's")
    post(own_hub, "a-channel", "three", event="other")
    page = open_live(
        window, f"/a-channel?event={quote(chr(105) + 't' + chr(39) + 's')}&since={first}"
    )
    page.get_by_role("button", name="Use this view").click()
    lines = page.locator(".recipe pre").all_inner_texts()
    printed = shell(lines[0])
    assert [line.split("\t", 1)[1] for line in printed.splitlines()] == ["it's\ttwo"]
    assert "data: two" in shell(f"{lines[1]} -m 1 || true")
    shell(lines[4])
    assert history(own_hub, "a-channel")[-1].data == "Some data"
    # The browser's own, run in the page.
    source = lines[2].replace("console.log(event.lastEventId, event.data)", "told.push(event.data)")
    page.evaluate(f"async () => {{ window.told = []; {source} }}")
    wait_until(lambda: page.evaluate("told") == ["two", "Some data"], "EventSource has both")
    module = lines[3].replace(
        "console.log(event.id, event.type, event.json ?? event.data)", "return"
    )
    assert 'import { replay } from "' in module
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".recipe .copy").first.click()
    expect(page.locator(".recipe .copy").first).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == lines[0]


def test_the_lines_for_event_source_name_the_types_that_there_are(
    window: Window, own_hub: HubProcess
) -> None:
    for event in ("placed", "it's", ""):
        post(own_hub, "a-channel", event or "none", event=event)
    page = open_live(window, "/a-channel")
    page.get_by_role("button", name="Use this view").click()
    source = page.locator(".recipe pre").all_inner_texts()[2]
    source = source.replace("console.log(event.lastEventId, event.data)", "told.push(event.data)")
    page.evaluate(f"async () => {{ window.told = []; {source} }}")
    wait_until(lambda: page.evaluate("told") == ["placed", "it's", "none"], "it has all")


def shell(line: str) -> str:
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=PATIENCE, check=True)
    return done.stdout.decode()


def test_keyboard_in_the_events(window: Window, own_hub: HubProcess) -> None:
    many(own_hub, "a-channel", 100)
    page = open_live(window, "/a-channel")
    page.get_by_role("listbox").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    expect(page.locator("[aria-selected=true]")).to_contain_text("n 98")
    expect(page.locator(".panel .json")).to_contain_text("n: 98")
    active = page.get_by_role("listbox").get_attribute("aria-activedescendant")
    assert active
    assert "n 98" in page.locator(f"#{active}").inner_text()
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_be_hidden()
    expect(page.locator("[aria-selected=true]")).to_have_count(0)


def test_the_time_in_the_data_counts(window: Window, own_hub: HubProcess) -> None:
    lines = [f'\tcommit\t{{"at": "{2010 + n}-03-01T12:00:00Z", "n": {n}}}\n' for n in range(10)]
    send(own_hub, "/a-channel", "".join(lines), TSV)
    page = open_live(window, "/a-channel")
    expect(page.locator(".readout")).to_contain_text(re.compile("2010-.*2019-"))
    expect(page.locator(ROWS).first).to_contain_text("2010-03-01 12:00:00")
    box = page.locator(".u-over").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.55, box["y"] + 20)
    expect(page.locator(".panel .json")).to_contain_text(re.compile("at: 201[4-6]-03"))
    page.get_by_label("Time", exact=True).select_option("by time stored")
    expect(page.locator(".readout")).not_to_contain_text("2010")


@pytest.mark.parametrize(
    "path", ["/streams/_all", "/streams/category/order", "/streams/join?streams=order-1,stock"]
)
def test_many_streams_together(window: Window, own_hub: HubProcess, path: str) -> None:
    commit(own_hub, "order-1", {"type": "Placed", "n": 1})
    commit(own_hub, "stock", {"type": "Counted", "n": 2})
    page = open_live(window, path)
    expect(page.locator(ROWS).first).to_contain_text("order-1")
    commit(own_hub, "order-1", {"type": "Paid", "n": 3})
    last = page.locator(ROWS).last
    expect(last).to_contain_text("Paid")
    last.click()
    expect(page.locator(".panel")).to_contain_text("commitId")
    page.locator(".panel dd a").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("order-1")


# A fold.


@pytest.fixture
def folding(window: Window, own_hub: HubProcess) -> Page:
    """The fold of a channel with the numbers 1 to 3000."""
    body = "".join(f'\tadd\t{{"n": {number}}}\n' for number in range(1, 3001))
    send(own_hub, "/a-channel", body, TSV)
    page = open_live(window, "/a-channel#fold")
    fold(page, "(state, { json }) => ({ sum: state.sum + json.n, last: json.n })", '{"sum": 0}')
    expect(state_of(page)).to_contain_text(f"sum: {3000 * 3001 // 2}")
    return page


def fold(page: Page, reducer: str, initial: str = "{}") -> None:
    page.get_by_label("Reducer").fill(reducer)
    page.get_by_label("State to begin with, as JSON").fill(initial)
    page.keyboard.press("Control+Enter")


def test_tab_goes_on_through_the_fold_unless_code_is_typed(
    window: Window, own_hub: HubProcess
) -> None:
    post(own_hub, "a-channel", "1")
    page = open_live(window, "/a-channel#fold")
    code = page.get_by_label("Reducer")
    before = code.input_value()
    page.get_by_label("Example").focus()
    page.keyboard.press("Tab")
    expect(code).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("State to begin with, as JSON")).to_be_focused()
    assert code.input_value() == before
    code.click()
    page.keyboard.press("Control+End")
    page.keyboard.press("Tab")
    expect(code).to_have_value(before + "  ")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.get_by_label("State to begin with, as JSON")).to_be_focused()


def test_the_slider_goes_through_time(folding: Page, own_hub: HubProcess) -> None:
    slider = folding.get_by_label("Moment in the history")
    for at in (0, 1, 2, 1499, 1500, 2999, 3000, 7):
        slider.fill(str(at))
        expect(state_of(folding)).to_contain_text(f"sum: {at * (at + 1) // 2}")
    expect(folding.locator(".place")).to_contain_text("event 7 of 3,000")
    expect(folding.locator(".fold-state section").last).to_contain_text("n: 7")
    slider.press("ArrowRight")
    expect(state_of(folding)).to_contain_text("last: 8")
    folding.get_by_role("button", name="One back").click()
    expect(state_of(folding)).to_contain_text("last: 7")
    # It stays there while others come, and goes with them at the end.
    post(own_hub, "a-channel", '{"n": 1000000}', event="add")
    expect(folding.locator(".summary").first).to_have_text("3,001 events")
    expect(state_of(folding)).to_contain_text("last: 7")
    folding.get_by_role("button", name="To the end, live").click()
    expect(state_of(folding)).to_contain_text("last: 1000000")
    post(own_hub, "a-channel", '{"n": 5}', event="add")
    expect(state_of(folding)).to_contain_text(f"sum: {3000 * 3001 // 2 + 1_000_005}")
    own_hub.kill()
    own_hub.start()
    post(own_hub, "a-channel", '{"n": 6}', event="add")
    expect(state_of(folding)).to_contain_text("last: 6")


def test_it_plays(folding: Page) -> None:
    folding.get_by_role("button", name="To the start").click()
    expect(folding.locator(".place")).to_have_text("before the first event")
    folding.get_by_role("button", name="Play").click()
    expect(folding.locator(".place")).to_contain_text(re.compile("event [1-9]"))
    folding.get_by_role("button", name="Stop", exact=True).first.click()


def test_numbers_of_the_state_are_plotted(folding: Page) -> None:
    expect(folding.locator(".legend")).to_contain_text("sum4,501,500")
    folding.get_by_label("What is plotted").select_option("last")
    expect(folding.locator(".legend")).to_contain_text("last3,000")
    box = folding.locator(".u-over").bounding_box()
    assert box
    folding.mouse.click(box["x"] + 2, box["y"] + 20)
    expect(folding.locator(".place")).not_to_contain_text("event 3,000")


def test_a_reducer_that_changes_the_state_in_place(folding: Page) -> None:
    fold(folding, "(state, event) => { state.all.push(event.json.n); return state }", '{"all": []}')
    expect(state_of(folding)).to_contain_text("[3000]")
    for at in (3, 5, 3, 2999, 3):
        folding.get_by_label("Moment in the history").fill(str(at))
        expect(state_of(folding)).to_contain_text(f"all: [{at}]")
    expect(state_of(folding)).to_contain_text("2: 3")


def test_what_is_wrong_with_a_reducer_is_said(folding: Page) -> None:
    told = folding.get_by_role("alert")
    fold(folding, "(state, event) => event.json.none.n")
    expect(told).to_contain_text("At event 1: ")
    fold(folding, "(state, event) => {")
    expect(told).not_to_be_empty()
    fold(folding, "42")
    expect(told).to_contain_text("no function")
    fold(folding, "(state) => state", "{")
    expect(told).to_contain_text("no JSON")
    fold(folding, "(state) => { state.n = (state.n ?? 0) + 1 }", "{}")
    expect(told).to_contain_text("At event 2")
    fold(folding, "(state) => { while (true); }")
    expect(told).to_contain_text("takes long")
    folding.get_by_role("button", name="Stop", exact=True).click()
    wait_until(lambda: not workers(folding), "what never ends is ended")
    fold(folding, "(state) => state + 1", "0")
    expect(state_of(folding)).to_contain_text("3000")


def workers(page: Page) -> int:
    """How many workers the page has now."""
    page.evaluate("1")  # Playwright hears of what has happened
    return len(page.workers)


def test_a_reducer_has_no_network(folding: Page) -> None:
    fold(
        folding,
        """(state) => {
          const found = [typeof document];
          try {
            const request = new XMLHttpRequest();
            request.open("GET", location.origin + "/health", false);
            request.send();
            found.push("reached");
          } catch { found.push("cut off"); }
          try { importScripts("/ui/theme.js"); found.push("reached"); }
          catch { found.push("cut off"); }
          return found.join();
        }""",
        '""',
    )
    expect(state_of(folding)).to_contain_text("undefined,cut off,cut off")


def test_a_fold_of_many_streams(window: Window, own_hub: HubProcess) -> None:
    for repo, lines in (("repo-a", 10), ("repo-b", 20), ("repo-a", 5), ("repo-c", 1)):
        at = "2020-01-01T00:00:00Z"
        commit(own_hub, repo, {"type": "Committed", "at": at, "added": lines, "removed": 1})
    page = open_live(window, "/streams/category/repo#fold")
    expect(page.get_by_label("Example")).to_have_value("Lines of code, by stream")
    for line in ("repo-a: 13", "repo-b: 19", "repo-c: 0"):
        expect(state_of(page)).to_contain_text(line)
    expect(page.locator(".legend")).to_contain_text("repo-b19")


def test_a_fold_of_logs_that_were_imported_one_after_the_other(
    window: Window, own_hub: HubProcess
) -> None:
    rows = "".join(f'20{year:02}-01-01T00:00:00Z\tt\t{{"added": 1}}\n' for year in range(100))
    for name in ("repo-a", "repo-b", "repo-c"):
        send(own_hub, f"/{name}", rows, TSV)
    page = open_live(window, "/streams/category/repo#fold")
    expect(page.locator(".place")).to_contain_text("event 300 of 300")
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    # Time would be that of the first log, with the others at its very end.
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 20)
    expect(page.locator(".place")).to_contain_text(re.compile(r"event 1[45]\d of 300 · 20"))


# Consumers.


def test_consumers(window: Window, own_hub: HubProcess) -> None:
    page = window.open("/consumers")
    expect(page.get_by_text("No consumers")).to_be_visible()
    commit(own_hub, "account-1", {"amount": 5}, {"amount": 7}, {"other": 1})
    handler = "(event, state) => ({paid: (state.paid ?? 0) + event.amount.valueOf()})"
    body = json.dumps({"handler": handler})
    send(own_hub, "/consumers/paid/stream/category/account", body, method="PUT")
    ok = json.dumps({"handler": "(event, state) => ({n: (state.n ?? 0) + 1})"})
    send(own_hub, "/consumers/count/stream/account-1", ok, method="PUT")
    stopped = page.locator(".card").filter(has=page.get_by_role("heading", name="paid"))
    expect(stopped).to_contain_text("Stopped")
    expect(stopped.locator(".told")).to_contain_text("event")
    count = page.locator(".card").filter(has=page.get_by_role("heading", name="count"))
    expect(count).to_contain_text("3 of 3")
    expect(count.locator("progress")).to_have_js_property("value", 1)
    count.locator("summary").first.click()
    expect(count).to_contain_text("n: 3")
    commit(own_hub, "account-1", {"amount": 1})
    expect(count).to_contain_text("n: 4")
    send(own_hub, "/consumers/count/stream/account-1/from/2", ok, method="PUT")
    expect(count).to_contain_text("n: 2")
    count.get_by_role("button", name="Reset").click()
    count.get_by_role("button", name="Cancel").click()
    count.get_by_role("button", name="Reset").click()
    with page.expect_response("**/consumers/count/reset"):
        count.get_by_role("button", name="Fold again").click()
    expect(count).to_contain_text("n: 2")
    request = urllib.request.Request(f"{own_hub.url}/consumers/paid", method="DELETE")
    urllib.request.urlopen(request, timeout=PATIENCE).close()
    expect(stopped).to_have_count(0)


@pytest.mark.parametrize(("path", "name"), [("%zz", "%zz"), ("none%20such", "none such")])
def test_a_consumer_that_there_is_not(
    window: Window, own_hub: HubProcess, path: str, name: str
) -> None:
    commit(own_hub, "account-1", {"amount": 5})
    body = json.dumps({"handler": "(event, state) => state"})
    send(own_hub, "/consumers/count/stream/account-1", body, method="PUT")
    page = window.open(f"/consumers/{path}")
    expect(page.locator(".notice")).to_have_text(f"There is no consumer “{name}”.")
    expect(page.get_by_role("heading", name="count")).to_be_visible()
    window.open("/consumers/count")
    expect(page.get_by_role("heading", name="count")).to_be_visible()
    expect(page.locator(".notice")).to_be_hidden()


# All views.


def test_light_and_dark(window: Window) -> None:
    page = window.open("/")
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    page.get_by_role("button", name="Light or dark").click()
    after = page.evaluate(background)
    assert after != before
    page.reload()
    assert page.evaluate(background) == after
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate(background) == before


@pytest.mark.parametrize("path", ["/", "/a-channel", "/streams/_all#fold", "/consumers"])
def test_small_screens(window: Window, own_hub: HubProcess, path: str) -> None:
    post(own_hub, "a-channel", json.dumps({"text": "x" * 500}), event="y" * 100)
    send(
        own_hub,
        "/consumers/" + "c" * 90 + "/stream/_all",
        '{"handler": "(e, s) => s"}',
        method="PUT",
    )
    window.page.set_viewport_size({"width": 390, "height": 844})
    page = window.open(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('main').scrollWidth") <= 390


def test_a_hub_that_is_away_is_told(window: Window, own_hub: HubProcess) -> None:
    page = open_live(window, "/a-channel")
    own_hub.stop()
    page.get_by_role("link", name="From the start").click()
    expect(page.locator(".notice")).to_contain_text("does not answer")
    own_hub.start()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(LIVE)).to_be_visible()
