"""A backup of a running hub, by the commands that the documentation prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import RunHub
from tests.parts import require
from tests.posting import Poster, history, post
from tests.process import PATIENCE, HubProcess, wait_until

PAGE = Path(__file__).parents[1] / "docs" / "operating.md"
MATCHER = {"payload": {"type": "A"}}
HANDLER = {"handler": "(event, state) => ({n: (state.n ?? 0) + 1})"}


def commands() -> str:
    """What the documentation says about copying."""
    section = PAGE.read_text().partition("\n## Backup\n")[2].partition("\n## ")[0]
    found = re.search(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def back_up(hub: HubProcess) -> Path:
    """Run the commands beside the events directory; return the copy."""
    require("rsync")
    place = hub.events.parent
    assert hub.events.name == "events"
    subprocess.run(["bash", "-ec", commands()], cwd=place, check=True, timeout=PATIENCE)
    return place / "backup"


def ask(hub: HubProcess, path: str, method: str = "GET", **body: Any) -> Any:
    request = urllib.request.Request(
        f"{hub.url}{path}", json.dumps(body).encode() if body else None, method=method
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def grown(hub: HubProcess, count: int) -> bool:
    return len(history(hub, "a-channel")) > count


def test_a_copy_of_a_running_hub_is_a_hub(run_hub: RunHub) -> None:
    hub = run_hub()
    ask(hub, "/streams/only-a", "PUT", **MATCHER)
    ask(hub, "/streams/orders-1/commit", "POST", events=[{"type": "A"}, {"type": "B"}])
    ask(hub, "/consumers/one/stream/orders-1", "PUT", **HANDLER)
    with Poster(hub, "a-channel"), Poster(hub, "b-channel"):
        for _ in range(3):
            more = len(history(hub, "a-channel")) + 20
            wait_until(partial(grown, hub, more), "events come in")
            answered = {name: history(hub, name) for name in ("a-channel", "b-channel")}
            copy = back_up(hub)
    everything = {name: history(hub, name) for name in answered}
    for name, events in everything.items():
        assert len(events) > len(answered[name])

    other = run_hub(directory=copy)
    for name, events in everything.items():
        found = history(other, name)
        assert len(answered[name]) <= len(found) <= len(events)
        assert found == events[: len(found)]
        assert "torn" in other.log or (copy / f"{name}.tsv").read_bytes().endswith(b"\n")
    assert ask(other, "/streams/orders-1/version")["version"] == 2
    assert ask(other, "/streams/only-a/version")["version"] == 1
    assert ask(other, "/consumers/one/until/2")["state"] == {"n": 2}
    post(other, "a-channel", "it goes on")
    assert ask(other, "/streams/orders-1/commit", "POST", events=[{}])["version"] == 3


def test_a_tail_that_was_cut_off_is_copied_anew(run_hub: RunHub) -> None:
    """What a backup has of a write that failed is not what came to stand in its place."""
    hub = run_hub()
    post(hub, "a-channel", "one")
    log = hub.events / "a-channel.tsv"
    sound = log.read_bytes()
    hub.stop()
    log.write_bytes(sound + b"2026-11-20T11:40:10.793214Z\ttorn\tha")
    back_up(hub)
    hub.start()  # cuts it off
    post(hub, "a-channel", "two, and a good deal longer than what was cut off")
    copy = back_up(hub)
    assert (copy / "a-channel.tsv").read_bytes() == log.read_bytes()


def test_a_batch_that_was_copied_half_written_is_copied_anew(run_hub: RunHub) -> None:
    """Its first byte comes last: the file has the same size then, and the same second."""
    hub = run_hub()
    post(hub, "a-channel", "one")
    hub.stop()
    log = hub.events / "a-channel.tsv"
    sound = log.read_bytes()
    batch = b"2026-11-20T11:40:10.793214Z\ta\tb\n" * 3
    second = 1_800_000_000 * 10**9
    log.write_bytes(sound + b"\0" + batch[1:])
    os.utime(log, ns=(second, second + 1_000_000))
    back_up(hub)
    log.write_bytes(sound + batch)
    os.utime(log, ns=(second, second + 2_000_000))
    assert (back_up(hub) / "a-channel.tsv").read_bytes() == sound + batch
