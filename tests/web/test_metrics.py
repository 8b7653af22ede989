"""Prometheus can read the metrics, and they move with what happens."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.web.context import HUB
from tests.conftest import Client, StartHub
from tests.web.wire import TSV, post, post_batch, subscribe

Samples = dict[str, float]


async def scrape(hub: Client) -> Samples:
    """Every sample by its name and labels."""
    async with hub.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            labels = "".join(f"{{{name}={value}}}" for name, value in sample.labels.items())
            samples[sample.name + labels] = sample.value
    return samples


async def test_everything_is_there_from_the_start(hub: Client) -> None:
    samples = await scrape(hub)
    for name in (
        "events_written_total", "bytes_written_total", "commit_seconds_count", "commit_events_sum",
        "subscribers", "lagging_subscribers", "logs",
    ):  # fmt: skip
        assert samples[f"hub_{name}"] == 0


async def test_what_is_written_is_counted(hub: Client) -> None:
    await post(hub, "/a-channel?id=1", "data")
    await post_batch(hub, b"2\t\ta\n3\t\tb\n", TSV, "/b-channel")
    samples = await scrape(hub)
    assert samples["hub_events_written_total"] == 3
    assert samples["hub_bytes_written_total"] == len(b"1\t\tdata\n2\t\ta\n3\t\tb\n")
    assert samples["hub_logs"] == 2
    assert samples["hub_commit_seconds_count"] == samples["hub_commit_events_count"] == 2
    assert samples["hub_commit_events_sum"] == 3
    assert samples["hub_commit_events_bucket{le=1.0}"] == 1
    assert samples["hub_commit_events_bucket{le=2.0}"] == 2
    assert 0 < samples["hub_commit_seconds_sum"] < 10
    assert samples["hub_commit_seconds_bucket{le=+Inf}"] == 2


async def test_subscribers_are_counted(hub: Client) -> None:
    async with subscribe(hub, "/a-channel"), subscribe(hub, "/b-channel"):
        assert (await scrape(hub))["hub_subscribers"] == 2
        assert len(hub.app[HUB].subscriptions) == 2


async def test_errors_are_counted_by_code(start_hub: StartHub) -> None:
    hub = await start_hub(max_event_bytes=10)
    await hub.post("/abc")
    for body in (b"\xff", b"\0", b"x" * 20):
        await hub.post("/a-channel", data=body)
    await hub.delete("/a-channel")
    await hub.get("/a/b")
    await hub.get("/a-channel?since=unknown")
    await hub.post("/a-channel", data=b"", headers={"Origin": "https://other.example"})
    samples = await scrape(hub)
    errors = {name: value for name, value in samples.items() if name.startswith("hub_errors_total")}
    assert errors == {
        f"hub_errors_total{{code={code}}}": count
        for code, count in {
            "invalid_name": 1, "invalid_event": 2, "too_large": 1, "method_not_allowed": 1,
            "not_found": 1, "unknown_id": 1, "forbidden_origin": 1,
        }.items()
    }  # fmt: skip


async def test_what_is_taken_back_is_not_counted(hub: Client) -> None:
    async with hub.post("/a-channel", data=b"1\t\ta\nbad", headers=TSV) as answer:
        assert answer.status == 422
    assert (await scrape(hub))["hub_events_written_total"] == 0


@pytest.mark.parametrize("count", [1, 20])
async def test_scraping_changes_nothing(hub: Client, count: int) -> None:
    first = await scrape(hub)
    for _ in range(count):
        assert await scrape(hub) == first
