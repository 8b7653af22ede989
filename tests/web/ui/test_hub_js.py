"""`/ui/hub.js` in Chromium: every event once and in order, whatever happens to the connection."""

from __future__ import annotations

import json
import random
import shutil
import time
import urllib.request
from typing import Any

import pytest

from tests.posting import Poster, Received, history, post
from tests.process import PATIENCE, HubProcess, wait_until
from tests.web.ui.conftest import Window

TSV = "text/tab-separated-values"

# Collects what a loop sees in `window.seen`, and how it ends in `window.ended`.
COLLECT = """async (hub, [kind, source, options]) => {
  window.seen = []
  window.states = []
  window.resets = 0
  window.abort = new AbortController()
  const tell = {
    signal: abort.signal,
    onState: (state) => states.push(state),
    onReset: () => { resets += 1; seen.push(['reset']) },
    onLive: () => states.push('live'),
  }
  ;(async () => {
    try {
      for await (const event of hub[kind](source, { ...options, ...tell })) {
        seen.push([event.type, event.data, event.id])
      }
      window.ended = 'end'
    } catch (error) {
      window.ended = `${error.name}: ${error.message}`
    }
  })()
}"""

# `cut()` breaks every connection of the page.
CUTTABLE = """(() => {
  const plain = fetch
  const open = new Map()
  window.cut = () => {
    for (const [own, reader] of open) {
      own.error(new TypeError('cut'))
      reader.cancel()
    }
    open.clear()
  }
  window.fetch = async (...request) => {
    const response = await plain(...request)
    const reader = response.body.getReader()
    let own
    const body = new ReadableStream({
      start(controller) { open.set((own = controller), reader) },
      async pull(controller) {
        const { done, value } = await reader.read()
        if (!open.has(own)) return
        if (!done) return controller.enqueue(value)
        open.delete(own)
        controller.close()
      },
      cancel() { open.delete(own); return reader.cancel() },
    })
    return new Response(body, { status: response.status, headers: response.headers })
  }
})()"""

# Any log, any breaks, against a hub in a few lines. Comes to the first log that went wrong.
DRAWN = """async ([seed, logs]) => {
  const { Place } = await import('/ui/hub/place.js')
  const random = () => {  // mulberry32
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const between = (low, high) => low + Math.floor(random() * (high - low + 1))
  const choice = (all) => all[between(0, all.length - 1)]
  const resumedAt = (log, id) => {
    let at = log.map((each) => each.id).lastIndexOf(id)
    while (at > 0 && log[at - 1].id === id) at -= 1
    return at + 1
  }
  const runUntil = (log, id) => {
    const rest = log.slice(resumedAt(log, id) - 1)
    const end = rest.findIndex((each) => each.id !== id)
    return end < 0 ? rest : rest.slice(0, end)
  }
  for (let number = 0; number < logs; number += 1) {
    const log = []
    for (let n = between(1, 24); n > 0; n -= 1) {
      const own = `2026-11-26T00:00:00.${String(log.length).padStart(6, '0')}Z`
      const id = choice([own, own, 'A', 'B', log.at(-1)?.id ?? own])
      log.push({ id, type: choice(['t', 't', 'o']), n: log.length })
    }
    const event = choice(['t', 't', undefined])
    let written = between(1, log.length)
    const there = () => log.slice(0, written)
    let known = 0  // events behind the reader
    let place = new Place('start', event)
    const begin = between(0, 2)
    if (begin === 1) {
      place = new Place(choice(there()).id, event)
      known = resumedAt(there(), place.cursor)
    } else if (begin === 2) {
      known = written
      const { id } = log[written - 1]
      place = new Place(id, event, written - resumedAt(there(), id) + 1)
    }
    const wants = (each) => event === undefined || each.type === event
    const wanted = log.filter((each) => each.n >= known && wants(each)).map((each) => each.n)
    const seen = []
    let ended = false
    for (let tries = 0; tries < 300 && !(ended && !place.turned); tries += 1) {
      if (place.isVague) place.settle(runUntil(there(), place.cursor))
      place.connect()
      let at = resumedAt(there(), place.cursor)
      ended = false
      while (!ended && !place.turned) {
        written = between(Math.max(written, at), log.length)
        const upto = between(at, written)
        const { asked } = place
        const sent = (each) => asked === undefined || each.type === asked
        const came = log.slice(at, upto).filter(sent)
        const found = place.take(came).map((each) => each.n)
        at = upto
        seen.push(...found)
        known = Math.max(known, asked === undefined ? at : (found.at(-1) ?? -1) + 1)
        ended = at === log.length
        // An id that comes again, behind others, while a reader is away moves it on.
        if (random() < 0.3 && resumedAt(there(), place.cursor) <= known) break
      }
    }
    if (String(seen) !== String(wanted)) return { event, begin, log, wanted, seen }
  }
  return null
}"""


def send(
    hub: HubProcess, path: str, body: str, kind: str = "text/plain", method: str = "POST"
) -> Any:
    """Send a body; return the answer's JSON, or its text."""
    request = urllib.request.Request(
        hub.url + path, body.encode(), {"Content-Type": kind}, method=method
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith("{") else text.strip()


def rows(hub: HubProcess, channel: str) -> list[list[str]]:
    """The history as the page should have it."""
    return [
        ["" if each.type == "message" else each.type, each.data, each.id]
        for each in history(hub, channel)
    ]


def seen(window: Window) -> list[list[str]]:
    return list(window.page.evaluate("seen"))


def wait_for(window: Window, data: str) -> list[list[str]]:
    """Wait until an event with this data came; return everything that did."""
    wait_until(lambda: any(each[1:2] == [data] for each in seen(window)), f"an event {data!r}")
    return seen(window)


def wait_for_state(window: Window, state: str) -> None:
    wait_until(lambda: state in window.page.evaluate("states"), f"the state {state!r}")


def collect(window: Window, kind: str, source: str, **options: Any) -> None:
    """Follow in the page; return at once."""
    window.open("/ui/icon.svg")  # a page without anything of its own
    window.run(COLLECT, [kind, source, options])


def subscribers(hub: HubProcess) -> int:
    with urllib.request.urlopen(f"{hub.url}/health", timeout=PATIENCE) as answer:
        return int(json.load(answer)["subscribers"])


@pytest.mark.parametrize("source", ["a-channel", "streams/a-channel"])
def test_replay_through_restarts(window: Window, own_hub: HubProcess, source: str) -> None:
    with Poster(own_hub, "a-channel") as poster:
        wait_until(lambda: len(poster.acknowledged) > 300, "a history")
        collect(window, "replay", source)
        wait_for_state(window, "open")
        for end in (own_hub.kill, own_hub.stop):
            count = len(seen(window))
            # mypy does not infer a lambda's defaults.
            wait_until(lambda count=count: len(seen(window)) > count + 50, "live events")  # type: ignore[misc]
            end()
            own_hub.start()
    post(own_hub, "a-channel", "the end")
    stream = source.startswith("streams")
    last = '{"type":"","data":"the end"}' if stream else "the end"
    got = wait_for(window, last)
    if stream:
        numbers = [each[2] for each in got]
        assert numbers == [str(number) for number in range(1, len(rows(own_hub, "a-channel")) + 1)]
    else:
        assert got == rows(own_hub, "a-channel")
    assert window.page.evaluate("states.indexOf('live')") == 0


def test_a_run_of_one_id_comes_once(window: Window, own_hub: HubProcess) -> None:
    send(own_hub, "/a-channel", "a\t\t1\nx\t\t2\nx\t\t3\nx\t\t4\n", TSV)
    collect(window, "replay", "a-channel")
    wait_for_state(window, "open")
    send(own_hub, "/a-channel", "x\t\t5\nx\t\t6\n", TSV)
    wait_for(window, "6")
    for end in (own_hub.kill, own_hub.stop):
        end()
        own_hub.start()
        post(own_hub, "a-channel", f"after {len(seen(window))}", id="x")
        wait_for(window, f"after {len(seen(window))}")
    post(own_hub, "a-channel", "the end", id="y")
    assert wait_for(window, "the end") == rows(own_hub, "a-channel")


@pytest.mark.parametrize("first", ["other", "wanted"])
def test_a_run_of_which_one_type_is_read(window: Window, own_hub: HubProcess, first: str) -> None:
    send(own_hub, "/a-channel", f"x\t{first}\t1\nx\twanted\t2\nx\twanted\t3\n", TSV)
    collect(window, "replay", "a-channel", event="wanted")
    wait_for_state(window, "open")
    own_hub.restart()
    post(own_hub, "a-channel", "no", event="other")
    post(own_hub, "a-channel", "the end", event="wanted")
    expected = [each for each in rows(own_hub, "a-channel") if each[0] == "wanted"]
    assert wait_for(window, "the end") == expected


def cuttable(window: Window, kind: str, source: str, **options: Any) -> None:
    """Follow in the page, over connections that `cut()` breaks; return when it is connected."""
    window.page.add_init_script(CUTTABLE)
    collect(window, kind, source, **options)
    wait_for_state(window, "open")


def wait_for_count(window: Window, count: int) -> list[int]:
    """Wait until so many events came; return the data of all, which are numbers."""
    wait_until(lambda: len(seen(window)) >= count, f"{count} events")
    return [int(each[1]) for each in seen(window)]


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(
    ("kind", "options", "first"),
    [
        ("replay", {}, 0),
        ("replay", {"since": "batch"}, 2),
        ("subscribe", {"since": "batch"}, 2),
        ("replay", {"tail": 2}, 2),
        ("replay", {"tail": 0}, 4),
        ("replay", {"since": "batch", "tail": 1}, 3),
        ("replay", {"tail": 9}, 0),
        ("subscribe", {}, 4),
    ],
)
def test_a_batch_that_shares_an_id(
    window: Window, own_hub: HubProcess, kind: str, options: dict[str, Any], first: int, cut: bool
) -> None:
    """Each of its events comes once, wherever in it a reader begins."""
    send(own_hub, "/a-channel", "one\t\t0\n" + "".join(f"batch\tt\t{n}\n" for n in (1, 2, 3)), TSV)
    cuttable(window, kind, "a-channel", **options)
    wait_for_count(window, 4 - first)
    if cut:
        window.page.evaluate("cut()")
    send(own_hub, "/a-channel", "batch\tt\t4\nbatch\tt\t5\n", TSV)
    send(own_hub, "/a-channel", "two\tt\t6\n", TSV)
    assert wait_for_count(window, 7 - first) == list(range(first, 7))


@pytest.mark.parametrize(
    ("options", "first"),
    [({}, 1), ({"tail": 2}, 6), ({"tail": 4}, 3), ({"since": "A"}, 6), ({"since": "own"}, 3)],
)
def test_of_one_type_ids_that_come_again(
    window: Window, own_hub: HubProcess, options: dict[str, Any], first: int
) -> None:
    own = "2026-11-26T00:00:00.000000Z"
    body = f"x\to\t0\nx\tt\t1\n{own}\tt\t2\nA\tt\t3\nA\tt\t4\nB\to\t5\nA\tt\t6\nA\tt\t7\n"
    if options.get("since") == "A":
        body = body.replace("A\tt\t6", "A\to\t5").replace("\t7\n", "\t6\nA\tt\t7\n")
    send(own_hub, "/a-channel", body, TSV)
    given = {**options, "since": own} if options.get("since") == "own" else options
    cuttable(window, "replay", "a-channel", event="t", **given)
    wanted = [n for n in (1, 2, 3, 4, 6, 7) if n >= first]
    assert wait_for_count(window, len(wanted)) == wanted
    for number in (8, 10):
        window.page.evaluate("cut()")
        send(own_hub, "/a-channel", f"A\tt\t{number}\nA\to\t0\nA\tt\t{number + 1}\n", TSV)
        wanted += [number, number + 1]
        assert wait_for_count(window, len(wanted)) == wanted


def test_of_one_type_equal_events_are_told_apart(window: Window, own_hub: HubProcess) -> None:
    post(own_hub, "a-channel", "1", id="s", event="tick")
    post(own_hub, "a-channel", "1", id="s", event="tick")
    cuttable(window, "replay", "a-channel", event="tick")
    wait_for_count(window, 2)
    window.page.evaluate("cut()")
    post(own_hub, "a-channel", "1", id="s", event="tick")
    post(own_hub, "a-channel", "2", id="s", event="tick")
    assert wait_for_count(window, 4) == [1, 1, 1, 2]


@pytest.mark.parametrize("seed", range(4))
def test_of_one_type_whatever_the_ids_each_event_comes_once(
    window: Window, own_hub: HubProcess, seed: int
) -> None:
    """A log at random, and breaks: where it is known that the reader has come to its end."""
    chance = random.Random(seed)
    post(own_hub, "a-channel", "0", event="t", id="A")
    cuttable(window, ["replay", "subscribe"][seed % 2], "a-channel", event="t", since="start")
    log = [("A", "t", 0)]
    for step in range(16):
        kinds = [chance.choice("to") for _ in range(chance.randrange(5))] + ["t"]
        if step % 2:
            window.page.evaluate("cut()")
            # While nobody reads only the last run may go on; what else comes is new.
            given = log[-1][0] or f"away-{step}"
            ids = [given if chance.random() < 0.6 else ""] * len(kinds)
        else:
            ids = [chance.choice(chance.choice(["", "AB"]) or [""]) for _ in kinds]
        batch = [(i, k, len(log) + n) for n, (i, k) in enumerate(zip(ids, kinds, strict=True))]
        log += batch
        send(own_hub, "/a-channel", "".join(f"{i}\t{k}\t{n}\n" for i, k, n in batch), TSV)
        wanted = [number for _, kind, number in log if kind == "t"]
        assert wait_for_count(window, len(wanted)) == wanted


def test_places_in_any_log(window: Window) -> None:
    window.open("/ui/icon.svg")
    assert window.page.evaluate(DRAWN, [random.randrange(2**31), 3000]) is None


def test_data_comes_as_it_was_posted(window: Window, own_hub: HubProcess) -> None:
    texts = [
        "two\nlines",
        "a\ttab",
        "\u2028 \x85 \x0c 🎉",
        "",
        '{"n": 1.10}',
        "  spaces ",
        ": no comment",
    ]
    for text in texts:
        post(own_hub, "a-channel", text, event="größer")
    collect(window, "replay", "a-channel")
    wait_for_state(window, "open")
    for text in texts:
        post(own_hub, "a-channel", text)
    post(own_hub, "a-channel", "the end")
    assert wait_for(window, "the end") == rows(own_hub, "a-channel")
    assert [each[1] for each in seen(window)] == [*texts, *texts, "the end"]


def test_subscribe_has_only_what_is_new(window: Window, own_hub: HubProcess) -> None:
    post(own_hub, "a-channel", "old")
    collect(window, "subscribe", "a-channel")
    wait_for_state(window, "open")
    post(own_hub, "a-channel", "new")
    assert [each[1] for each in wait_for(window, "new")] == ["new"]
    # Nothing was seen of the other channel yet; still nothing is missed.
    collect(window, "subscribe", "b-channel")
    wait_for_state(window, "open")
    own_hub.kill()
    own_hub.start()
    post(own_hub, "b-channel", "one")
    post(own_hub, "b-channel", "two")
    assert [each[1] for each in wait_for(window, "two")] == ["one", "two"]


def test_subscribe_from_a_place(window: Window, own_hub: HubProcess) -> None:
    ids = [post(own_hub, "a-channel", str(number)) for number in range(5)]
    collect(window, "subscribe", "a-channel", since=ids[2])
    assert [each[1] for each in wait_for(window, "4")] == ["3", "4"]
    collect(window, "subscribe", "a-channel", since="start")
    assert len(wait_for(window, "4")) == 5
    collect(window, "subscribe", "streams/a-channel", since=3)
    assert [each[2] for each in wait_for(window, '{"type":"","data":"4"}')] == ["4", "5"]


@pytest.mark.parametrize(
    ("lost", "new"), [("lost: 1", "new-"), ("2026-11-20T11:40:10.793214Z", "2026-11-1")]
)
def test_another_history_is_told_by_on_reset(
    window: Window, own_hub: HubProcess, lost: str, new: str
) -> None:
    post(own_hub, "a-channel", "lost", id=lost)
    window.open("/ui/icon.svg")
    window.run(
        """async (hub) => {
          window.states = []
          const onReset = () => states.push('reset')
          const reducer = (state, event) => [...state, event.data]
          for await (const state of hub.scan('a-channel', reducer, [], { onReset })) {
            states.push(state)
            if (state.length === 1) break
          }
        }"""
    )
    assert window.page.evaluate("states") == [["lost"]]
    collect(window, "replay", "a-channel")
    wait_for_state(window, "open")
    own_hub.stop()
    shutil.rmtree(own_hub.events)
    own_hub.events.mkdir()
    (own_hub.events / "a-channel.tsv").write_text(f"{new}1\ttype\tone\n{new}2\t\ttwo\n")
    own_hub.start()
    assert wait_for(window, "two") == [
        ["", "lost", lost],
        ["reset"],
        *rows(own_hub, "a-channel"),
    ]


def test_scan_starts_over(window: Window, own_hub: HubProcess) -> None:
    post(own_hub, "a-channel", "lost", id="lost: 1")
    window.open("/ui/icon.svg")
    window.run(
        """(hub) => {
          window.states = []
          const initial = { all: [] }
          const reducer = (state, event) => { state.all.push(event.data); return state }
          ;(async () => {
            const all = hub.scan('a-channel', reducer, initial)
            for await (const state of all) states.push([...state.all])
          })()
        }"""
    )
    wait_until(lambda: bool(window.page.evaluate("states.length")), "the first state")
    wait_until(lambda: subscribers(own_hub) == 1, "it follows")
    own_hub.stop()
    (own_hub.events / "a-channel.tsv").write_text("new-1\t\tone\nnew-2\t\ttwo\n")
    own_hub.start()
    wait_until(lambda: len(window.page.evaluate("states")) == 3, "the states of another history")
    assert window.page.evaluate("states") == [["lost"], ["one"], ["one", "two"]]


def test_a_loop_that_is_left_or_aborted_gives_its_connection_back(
    window: Window, own_hub: HubProcess
) -> None:
    post(own_hub, "a-channel", "one")
    collect(window, "replay", "a-channel")
    wait_until(lambda: subscribers(own_hub) == 1, "it follows")
    window.page.evaluate("abort.abort()")
    wait_until(lambda: subscribers(own_hub) == 0, "it has hung up")
    wait_until(lambda: bool(window.page.evaluate("window.ended ?? ''")), "the loop ends")
    assert window.page.evaluate("ended").startswith("AbortError")
    window.run(
        """async (hub) => {
          for await (const event of hub.subscribe('a-channel', { since: 'start' })) break
        }"""
    )
    wait_until(lambda: subscribers(own_hub) == 0, "it has hung up")
    assert (
        window.run(
            """async (hub) => {
          try { await hub.fold('a-channel', (n) => n + 1, 0, { signal: AbortSignal.abort() }) }
          catch (error) { return error.name }
        }"""
        )
        == "AbortError"
    )


def test_history_and_fold(window: Window, own_hub: HubProcess) -> None:
    body = "".join(f'{number}\t{"ab"[number % 2]}\t{{"n": {number}}}\n' for number in range(1000))
    send(own_hub, "/a-channel", body, TSV)
    window.open("/ui/icon.svg")
    read = """async (hub, [source, options]) => {
      const found = []
      for await (const event of hub.history(source, options)) found.push(event.json.n)
      return found
    }"""
    assert window.run(read, ["a-channel", {}]) == list(range(1000))
    assert window.run(read, ["a-channel", {"tail": 3}]) == [997, 998, 999]
    assert window.run(read, ["a-channel", {"since": "7", "limit": 2}]) == [8, 9]
    assert window.run(read, ["a-channel", {"event": "b", "until": "5"}]) == [1, 3, 5]
    assert window.run(read, ["streams/a-channel", {"tail": 3}]) == [997, 998, 999]
    assert window.run(read, ["streams/a-channel", {"since": 998, "event": "b"}]) == [999]
    total = window.run(
        """async (hub) => {
          const initial = { sum: 0 }
          const told = []
          const add = (state, event) => { state.sum += event.json.n; return state }
          const onProgress = (n) => told.push(n)
          const state = await hub.fold('a-channel', add, initial, { onProgress })
          return [state.sum, initial.sum, told.at(-1)]
        }"""
    )
    assert total == [sum(range(1000)), 0, 1000]


def test_a_history_that_breaks_off_is_read_on(window: Window, own_hub: HubProcess) -> None:
    line = "\t\t" + "x" * 5000 + "\n"
    for _ in range(6):
        send(own_hub, "/a-channel", line * 2000, TSV)
    window.open("/ui/icon.svg")
    window.run(
        """(hub) => {
          window.count = 0
          window.ids = new Set()
          window.goOn = new Promise((resolve) => { window.resume = resolve })
          window.done = (async () => {
            for await (const event of hub.history('a-channel')) {
              count += 1
              ids.add(event.id)
              if (count === 50) await goOn
            }
          })()
        }"""
    )
    wait_until(lambda: window.page.evaluate("count") == 50, "it has begun")
    own_hub.kill()
    own_hub.start()
    window.page.evaluate("resume()")
    window.page.evaluate("done")
    assert window.page.evaluate("[count, ids.size]") == [12_000, 12_000]
    # It did break off: the hub that answered last knows of no other read.
    assert any("net::ERR" in each for each in window.complaints)


def test_streams_together(window: Window, own_hub: HubProcess) -> None:
    for number in range(3):
        for name in ("order-1", "order/2", "stock"):
            body = json.dumps(
                {"events": [{"type": "Made", "n": number}], "metadata": {"by": "ann"}}
            )
            send(own_hub, f"/streams/{name.replace('/', '%2F')}/commit", body)
    window.open("/ui/icon.svg")
    read = """async (hub, source) => {
      const found = []
      for await (const event of hub.replay(source)) {
        found.push([event.id, event.stream, event.type, event.json.n, event.metadata.by])
        if (event.json.n === 2 && event.stream !== 'order-1') break
      }
      return found
    }"""
    assert window.run(read, "streams/order%2F2") == [
        [str(number + 1), "order/2", "Made", number, "ann"] for number in range(3)
    ]
    assert [each[1] for each in window.run(read, "streams/category/order")] == [
        "order-1",
        "order/2",
    ] * 3
    assert len(window.run(read, "query?types=Made")) == 8
    collect(window, "replay", "streams/_all")
    wait_for_state(window, "open")
    own_hub.kill()
    own_hub.start()
    send(own_hub, "/streams/stock/commit", '{"events": [{"type": "Counted"}]}')
    got = wait_for(window, '{"type":"Counted"}')
    assert len(got) == 10
    assert got[-1][2] == "10"


def test_what_the_hub_refuses(window: Window, own_hub: HubProcess) -> None:
    window.expected = ("400 (Bad Request)", "422 (Unprocessable", "404 (Not Found)")
    window.open("/ui/icon.svg")
    refused = """async (hub, [kind, ...rest]) => {
      try { for await (const each of hub[kind](...rest)) break } catch (error) {
        return [error instanceof hub.HubError, error.status, error.code]
      }
    }"""
    assert window.run(refused, ["replay", "abc!"]) == [True, 400, "invalid_name"]
    assert window.run(refused, ["replay", "a-channel", {"since": "what"}]) == [
        True,
        422,
        "unknown_id",
    ]
    assert window.run(refused, ["subscribe", "streams/none-such"]) == [True, 404, "unknown_stream"]


def test_publish(window: Window, own_hub: HubProcess) -> None:
    window.open("/ui/icon.svg")
    one = window.run("(hub) => hub.publish('a-channel', { item: 'tea' }, { event: 'placed' })")
    two = window.run("(hub) => hub.publish('a-channel', 'text', { id: 'größe' })")
    assert history(own_hub, "a-channel") == [
        Received("placed", '{"item":"tea"}', one),
        Received("message", "text", two),
    ]


def test_text_is_published_as_it_is(window: Window, own_hub: HubProcess) -> None:
    window.open("/ui/icon.svg")
    texts = ["one\n", "two lines\n\n", "a\r\nb", "", "\n"]
    for text in texts:
        window.run("(hub, text) => hub.publish('a-channel', text)", text)
    window.run("(hub) => hub.publish('a-channel', undefined)")
    found = [each.data for each in history(own_hub, "a-channel")]
    assert found == ["one\n", "two lines\n\n", "a\nb", "", "\n", ""]


def test_a_hidden_page_gives_its_connection_back(window: Window, own_hub: HubProcess) -> None:
    collect(window, "replay", "a-channel", whileHidden=False)
    wait_until(lambda: subscribers(own_hub) == 1, "it follows")
    # Chromium without a screen hides nothing by itself.
    hide = """(hidden) => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))
    }"""
    window.page.clock.install()
    window.page.evaluate(hide, True)
    window.page.clock.fast_forward(5_000)
    time.sleep(0.2)
    assert subscribers(own_hub) == 1
    window.page.clock.fast_forward(5_000)
    wait_until(lambda: subscribers(own_hub) == 0, "it has hung up", PATIENCE - 10)
    post(own_hub, "a-channel", "meanwhile")
    window.page.evaluate(hide, False)
    wait_for(window, "meanwhile")
    post(own_hub, "a-channel", "the end")
    assert wait_for(window, "the end") == rows(own_hub, "a-channel")


def test_frames_and_lines_wherever_they_are_cut(window: Window) -> None:
    window.open("/ui/icon.svg")
    whole = "retry: 7\n:\nevent: t\r\ndata: a\rdata:  b\nid: 1\n\n:\ndata\nid\n\r\n"
    whole += "id: 3\n\ndata: \u2028\nid: 4\n\n"
    found = window.page.evaluate(
        """async (whole) => {
          const { FrameParser } = await import('/ui/hub/frames.js')
          const all = new Set()
          for (let size = 1; size <= whole.length; size += 1) {
            const parser = new FrameParser()
            const frames = []
            for (let at = 0; at < whole.length; at += size) {
              for (const { type, data, id } of parser.push(whole.slice(at, at + size))) {
                frames.push([type, data, id])
              }
            }
            all.add(JSON.stringify([parser.retry, frames]))
          }
          return [...all]
        }""",
        whole,
    )
    assert [json.loads(each) for each in found] == [
        [7, [["t", "a\n b", "1"], ["", "", ""], ["", "\u2028", "4"]]]
    ]
    lines = window.page.evaluate(
        """async () => {
          const { LineSplitter } = await import('/ui/hub/lines.js')
          const splitter = new LineSplitter()
          return [...'a\\u2028b\\r\\n\\nc\\vd\\ntorn'].flatMap((each) => splitter.push(each))
        }"""
    )
    assert lines == ["a\u2028b\r", "", "c\vd"]
