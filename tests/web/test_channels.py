"""The door of channels, its writing side: single posts and batches."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.event import Event, time_of
from hub.formats import encode_line
from hub.web.channels import _known_target
from tests import examples
from tests.conftest import Client, StartHub
from tests.web.wire import NDJSON, TSV, post, post_batch, refused, rows, serving

# Single posts


async def test_the_first_transcript(hub: Client, events: Path) -> None:
    # What `echo Some data | curl -d @-` sends: a form type, no line break.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await hub.post("/a-channel?event=type", data=b"Some data", headers=form)
    assert (answer.status, answer.reason) == (201, "Created")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    identity = await answer.text()
    assert time_of(identity)
    assert rows(events) == [[identity.encode(), b"type", b"Some data"]]


async def test_curl_gives_the_same_event_both_ways(hub: Client, events: Path) -> None:
    script = """
        echo Some data | curl -sS -d @- "$URL/a-channel?event=type&id=1"
        echo Some data | curl -sS --data-binary @- "$URL/a-channel?event=type&id=2"
        printf 'a\\nb\\n\\n' | curl -sS --data-binary @- "$URL/a-channel?event=type&id=3"
    """
    process = await asyncio.create_subprocess_exec(
        "bash", "-ec", script, env={"URL": str(hub.make_url("")), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"123")
    assert [row[1:] for row in rows(events)] == [[b"type", b"Some data"]] * 2 + [
        [b"type", b"a\x0bb\x0b"]
    ]


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "image/png", "multipart/form-data", "text/plain; charset=latin-1",
     "nonsense", "text/tsv"],
)  # fmt: skip
async def test_the_body_is_text_whatever_its_type(
    hub: Client, events: Path, content_type: str
) -> None:
    body = 'a=b&c=%20ä {"x": 1}'.encode()
    async with hub.post("/a-channel", data=body, headers={"Content-Type": content_type}) as answer:
        assert answer.status == 201
    assert rows(events)[0][2] == body


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b"", b""),
        (b"\n", b""),
        (b"one\n", b"one"),
        (b"one\r\n", b"one"),
        (b"one\n\n", b"one\x0b"),
        (b"one\r\ntwo\rthree\n", b"one\x0btwo\x0bthree"),
        ("\U0001f600 ä\u0085\u2028\f\ttab ".encode(), "\U0001f600 ä\u0085\u2028\f\ttab ".encode()),
    ],
)
async def test_data_is_kept(
    hub: Client, events: Path, body: bytes, data: bytes, chunked: bool
) -> None:
    async with hub.post("/a-channel", data=body, chunked=chunked or None) as answer:
        assert answer.status == 201
    assert rows(events)[0][1:] == [b"", data]


async def test_id_and_event_of_the_query(hub: Client, events: Path) -> None:
    assert await post(hub, "/a-channel?id=%C3%A4%2B1&event=a%20b") == "ä+1"
    assert await post(hub, "/a-channel?id=%EF%BF%BD&event=%F0%9F%98%80") == "\ufffd"
    assert time_of(await post(hub, "/a-channel?id=&event="))
    found = rows(events)
    assert found[0] == ["ä+1".encode(), b"a b", b"data"]
    assert found[1][:2] == ["\ufffd".encode(), "\U0001f600".encode()]
    assert found[2][1] == b""


@pytest.mark.parametrize("parameter", ["id", "event"])
@pytest.mark.parametrize("value", ["%09", "a%0Ab", "%0D", "%00", "%FF", "a%C3", "a" * 257])
async def test_fields_that_cannot_be_kept(
    hub: Client, events: Path, parameter: str, value: str
) -> None:
    for headers in ({}, NDJSON):
        answer = await hub.post(f"/a-channel?{parameter}={value}", data=b"1", headers=headers)
        await refused(answer, 422, "invalid_event", parameter)
    assert not rows(events)
    assert await post(hub, f"/a-channel?{parameter}={'a' * 256}")


@pytest.mark.parametrize("value", ["start", "earliest", "%0B", "a%7F", "%20a", "a%20"])
async def test_ids_that_could_not_be_resumed_from(hub: Client, value: str) -> None:
    answer = await hub.post(f"/a-channel?id={value}", data=b"data")
    await refused(answer, 422, "invalid_event", "id")


@pytest.mark.parametrize("body", [b"\0", b"a\x0bb", b"\xff", b"ab\xc3", b"\xed\xa0\x80"])
@pytest.mark.parametrize("chunked", [True, False])
async def test_data_that_cannot_be_kept(
    hub: Client, events: Path, body: bytes, chunked: bool
) -> None:
    answer = await hub.post("/a-channel", data=body, chunked=chunked or None)
    await refused(answer, 422, "invalid_event")
    assert not (events / "a-channel.tsv").exists()


@pytest.mark.parametrize(
    "name", ["abc", "a%20b", "a" * 65, "streams", "_all", "_hub", "caf%C3%A9", "abcd.tsv",
             "..%2F..%2Fetc", "a%2Fbcd", "%00abc", "abcd%0A", "query", "consumers"],
)  # fmt: skip
async def test_names_are_refused_with_the_rule(hub: Client, events: Path, name: str) -> None:
    await refused(await hub.post(f"/{name}", data=b"data"), 400, "invalid_name", "letters")
    if name not in ("streams", "query", "consumers"):  # these have doors of their own
        await refused(await hub.get(f"/{name}"), 400, "invalid_name", "letters")
    assert os.listdir(events) == [".hub"]


# Limits


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
async def test_an_event_at_its_limit_and_over(
    start_hub: StartHub, events: Path, end: bytes, chunked: bool
) -> None:
    hub = await start_hub(max_event_bytes=100)
    good, bad = b"a" * 100 + end, b"a" * 101 + end
    assert (await hub.post("/a-channel", data=good, chunked=chunked or None)).status == 201
    answer = await hub.post("/a-channel", data=bad, chunked=chunked or None)
    await refused(answer, 413, "too_large", "100")
    assert [len(row[2]) for row in rows(events)] == [100]


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_request_at_its_limit_and_over(
    start_hub: StartHub, events: Path, chunked: bool
) -> None:
    hub = await start_hub(max_request_bytes=100)
    line = b"7\t\tdata56\n"
    for headers in (TSV, {}):
        for body, status in ((line * 10, 201), (line * 10 + b"\n", 413), (line * 20, 413)):
            async with hub.post(
                "/a-channel", data=body, headers=headers, chunked=chunked or None
            ) as answer:
                assert answer.status == status
                if status == 413:
                    await refused(answer, 413, "too_large", "100")
    assert len(rows(events)) == 11


@pytest.mark.parametrize("headers", [TSV, NDJSON])
async def test_a_line_at_its_limit_and_over(
    start_hub: StartHub, events: Path, headers: dict[str, str]
) -> None:
    hub = await start_hub(max_event_bytes=50)
    head = b"\t\t" if headers == TSV else b""
    good, bad = head + b"1" * 50 + b"\n", head + b"1" * 51 + b"\n"
    await post_batch(hub, good * 2, headers, "/a-channel")
    for body in (good + bad, good + bad + good, good + head + b"1" * 5000):
        answer = await hub.post("/a-channel", data=body, headers=headers)
        await refused(answer, 422, "invalid_event", "line 2: ", "50")
    assert len(rows(events)) == 2


# Batches


async def test_a_tsv_batch(hub: Client, events: Path) -> None:
    body = b"7\ttype\tdata\n\t\t\n8\t\ta\x0bb\tc"
    assert await post_batch(hub, body, TSV, "/a-channel") == {"count": 3, "first": "7", "last": "8"}
    found = rows(events)
    assert [found[0], found[2]] == [[b"7", b"type", b"data"], [b"8", b"", b"a\x0bb\tc"]]
    assert time_of(found[1][0].decode())


@pytest.mark.parametrize("parameters", ["; charset=utf-8", ";header=absent", " "])
async def test_a_batch_is_known_by_its_type(hub: Client, parameters: str) -> None:
    for media_type in ("text/tab-separated-values", "TEXT/Tab-Separated-Values"):
        headers = {"Content-Type": media_type + parameters}
        assert await post_batch(hub, b"7\t\ta\n", headers, "/a-channel")


@settings(max_examples=25)
@given(st.lists(examples.events(examples.ids.filter(bool)), min_size=1))
def test_a_channel_is_copied_by_its_history(wanted: list[Event]) -> None:
    body = b"".join(map(encode_line, wanted))

    async def copy(base: Path) -> None:
        async with serving(base) as client:
            await post_batch(client, body, TSV, "/origin")
            async with client.get("/origin") as answer:
                history = await answer.read()
            assert history == body
            await post_batch(client, history, TSV, "/copy")
        assert (base / "copy.tsv").read_bytes() == (base / "origin.tsv").read_bytes() == body

    with TemporaryDirectory() as base:
        asyncio.run(copy(Path(base)))


async def test_an_ndjson_batch(hub: Client, events: Path) -> None:
    body = b'{"n": 1.10}\n\n[1,\t2]\r\n  \n"x"'
    answer = await post_batch(hub, body, NDJSON, "/a-channel?event=type")
    found = rows(events)
    first, last = found[0][0].decode(), found[-1][0].decode()
    assert answer == {"count": 3, "first": first, "last": last}
    assert [row[1:] for row in found] == [
        [b"type", each] for each in (b'{"n": 1.10}', b"[1,\t2]", b'"x"')
    ]
    assert first < found[1][0].decode() < last


async def test_an_ndjson_batch_with_one_id(hub: Client, events: Path) -> None:
    answer = await post_batch(hub, b"1\n2\n", NDJSON, "/a-channel?id=7")
    assert answer == {"count": 2, "first": "7", "last": "7"}
    assert [row[0] for row in rows(events)] == [b"7", b"7"]


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n"])
async def test_an_empty_batch_stores_nothing(hub: Client, events: Path, body: bytes) -> None:
    for headers in (TSV, NDJSON):
        if headers == TSV and body:
            continue
        answer = await hub.post("/a-channel", data=body, headers=headers)
        assert (answer.status, await answer.json()) == (
            200,
            {"count": 0, "first": None, "last": None},
        )
    assert os.listdir(events) == [".hub"]


@pytest.mark.parametrize(
    ("headers", "bad"),
    [(TSV, b"no tabs"), (TSV, b""), (TSV, b"7\t\t\xff"), (TSV, b"start\t\t"), (TSV, b"7\t\ta\0"),
     (TSV, b"7\x01\t\t"), (NDJSON, b"{"), (NDJSON, b'"\xff"'), (NDJSON, b'"a\x0b"')],
)  # fmt: skip
@pytest.mark.parametrize("before", [0, 1, 20_000])
async def test_a_batch_is_all_or_nothing(
    hub: Client, events: Path, headers: dict[str, str], bad: bytes, before: int
) -> None:
    good = b"\t\t12345\n" if headers == TSV else b"12345\n"
    body = good * before + bad + b"\n" + good * 3
    answer = await hub.post("/a-channel", data=body, headers=headers)
    await refused(answer, 422, "invalid_event", f"line {before + 1}: ")
    assert not (events / "a-channel.tsv").exists()
    await post_batch(hub, good, headers, "/a-channel")


async def test_a_tsv_batch_has_its_own_ids_and_types(hub: Client) -> None:
    for query in ("id=7", "event=type"):
        answer = await hub.post(f"/a-channel?{query}", data=b"7\t\ta\n", headers=TSV)
        await refused(answer, 400, "invalid_request", "'id' and 'event'")


async def test_what_is_remembered_of_targets_is_bounded(hub: Client) -> None:
    before = _known_target.cache_info().currsize
    await post(hub, "/a-channel?event=short")
    await post(hub, "/a-channel?event=short")
    assert _known_target.cache_info().currsize == before + 1
    await post(hub, f"/a-channel?event=long&padding={'x' * 2000}")
    await post(hub, "/a-channel?id=7&event=unique")
    assert _known_target.cache_info().currsize == before + 1


# Making


async def test_a_channel_is_made_for_a_format(hub: Client, events: Path) -> None:
    for form, query in {"tsv": "", "ndjson": "?format=ndjson"}.items():
        name = f"made-{form}"
        for status in (201, 200):
            async with hub.put(f"/{name}{query}") as answer:
                assert (answer.status, answer.content_type) == (status, "application/json")
                assert await answer.json() == {"channel": name, "format": form}
        assert (events / f"{name}.{form}").read_bytes() == b""
        async with hub.get(f"/{name}") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert answer.headers["Last-Event-ID"] == "start"
        identity = await post(hub, f"/{name}?event=t", "data")
        assert (await hub.put(f"/{name}?format={form}")).status == 200
        async with hub.get(f"/{name}") as answer:
            data = {"tsv": "data", "ndjson": '{"type":"t","data":"data"}'}[form]
            assert await answer.text() == f"{identity}\tt\t{data}\n"
    assert sorted(os.listdir(events)) == [".hub", "made-ndjson.ndjson", "made-tsv.tsv"]


async def test_a_channel_keeps_its_format_for_life(start_hub: StartHub) -> None:
    hub = await start_hub()
    await hub.put("/a-channel?format=ndjson")
    await post(hub, "/b-channel")
    for _ in range(2):
        for name, other, has in (("a", "tsv", "ndjson"), ("b", "ndjson", "tsv")):
            async with hub.put(f"/{name}-channel?format={other}") as answer:
                assert answer.status == 409
                error = await answer.json()
            assert error.pop("error") == (
                f"log '{name}-channel' has the format {has}, for life: it cannot become {other}"
            )
            assert error == {"code": "format_conflict", "expected": other, "actual": has}
        await hub.close()
        hub = await start_hub()
    async with hub.put("/a-channel") as answer:  # what is not said is TSV
        assert answer.status == 409


@pytest.mark.parametrize("query", ["format=", "format=csv", "format=NDJSON", "format=%FF"])
async def test_what_is_no_format(hub: Client, events: Path, query: str) -> None:
    await refused(await hub.put(f"/a-channel?{query}"), 400, "invalid_request", "'ndjson'")
    assert os.listdir(events) == [".hub"]


async def test_only_channels_are_made(hub: Client, events: Path) -> None:
    for name in ("abc", "_all", "a%20bcd", "streams", "a%2Fbcd"):
        await refused(await hub.put(f"/{name}?format=ndjson"), 400, "invalid_name")
    assert os.listdir(events) == [".hub"]


async def test_a_file_that_somebody_made_keeps_its_format(hub: Client, events: Path) -> None:
    (events / "a-channel.tsv").write_bytes(b"1\t\tby hand\n")
    assert (await hub.put("/a-channel?format=ndjson")).status == 409
    assert (await hub.put("/a-channel")).status == 200


async def test_many_make_the_same_channel(hub: Client) -> None:
    for _ in range(5):
        answers = await asyncio.gather(*(hub.put("/a-channel?format=ndjson") for _ in range(20)))
        assert {answer.status for answer in answers} <= {200, 201}
        assert [answer.status for answer in answers].count(201) <= 1
