"""The hub as a process: what other tests build on."""

from __future__ import annotations

import urllib.request

from tests.conftest import RunHub


def test_a_hub_comes_back_with_what_it_had(run_hub: RunHub) -> None:
    hub = run_hub()
    for end in (hub.stop, hub.kill):
        urllib.request.urlopen(f"{hub.url}/a-channel", b"data").close()
        before = (hub.events / "a-channel.tsv").read_bytes()
        end()
        hub.start()
        with urllib.request.urlopen(f"{hub.url}/a-channel") as answer:
            assert answer.read() == before
    assert before.count(b"\n") == 2
    assert hub.stop() == 0
    assert hub.log.count("listening on") == 3
