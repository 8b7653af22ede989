"""`hub publish`: one event or lines, as they come; and what is said when it breaks."""

from __future__ import annotations

import json
import subprocess
import threading
import time

import pytest

from hub.cli.uploading import BATCH_BYTES
from tests.cli.commands import Running, at_terminal, run, shell
from tests.conftest import RunHub
from tests.process import HubProcess


def rows(name: str, url: str) -> list[list[str]]:
    return [line.split("\t", 2) for line in run("cat", name, url=url).lines]


def test_one_event_is_answered_with_its_id(url: str) -> None:
    done = run("publish", "one-event", '{"item": "tea"}', "--event", "placed", url=url)
    assert (done.code, done.err) == (0, "")
    assert rows("one-event", url) == [[done.out.strip(), "placed", '{"item": "tea"}']]
    assert run("publish", "one-event", "x", "--id", "mine", url=url).out == "mine\n"


@pytest.mark.parametrize(
    ("data", "kept"),
    [("", ""), ("a\n", "a\x0b"), ("a\nb", "a\x0bb"), ("ä€😀", "ä€😀"), ("-x", "-x")],
)
def test_data_is_kept_to_the_letter(data: str, kept: str, url: str) -> None:
    run("publish", "to-the-letter", "--", data, url=url)
    assert rows("to-the-letter", url)[-1][2] == kept


def test_one_event_as_json_is_one_line_and_keeps_its_digits(url: str) -> None:
    done = run("publish", "as-json", "--json", '{"price":\n 1.10}', "--event", "e", url=url)
    assert rows("as-json", url) == [[done.out.strip(), "e", '{"price":1.10}']]
    wrong = run("publish", "as-json", "--json", "{oops", url=url)
    assert wrong.code == 1
    assert wrong.err.startswith("hub: DATA is not JSON: ")


def test_lines_of_standard_input(url: str) -> None:
    done = run("publish", "of-lines", "--event", "t", url=url, stdin=b"a\r\n\tb\n\nc\rd")
    assert done.code == 0
    found = rows("of-lines", url)
    assert [each[1:] for each in found] == [["t", "a"], ["t", "\tb"], ["t", ""], ["t", "c\x0bd"]]
    assert json.loads(done.out) == {"count": 4, "first": found[0][0], "last": found[3][0]}


def test_nothing(url: str) -> None:
    done = run("publish", "of-nothing", url=url)
    assert (done.code, json.loads(done.out)["count"]) == (0, 0)


def test_json_and_tsv_lines(url: str) -> None:
    done = run("publish", "json-lines", "--json", url=url, stdin=b'{"a":1}\n\n2.50\n')
    assert json.loads(done.out)["count"] == 2
    assert [each[2] for each in rows("json-lines", url)] == ['{"a":1}', "2.50"]
    run("publish", "tsv-lines", "--tsv", url=url, stdin=b"x\tT\tdata\n")
    assert rows("tsv-lines", url) == [["x", "T", "data"]]
    assert run("publish", "tsv-lines", "--tsv", "--event", "E", url=url).code == 2


def test_a_channel_is_copied_by_a_pipe(server: HubProcess) -> None:
    run("publish", "original", url=server.url, stdin=b"a\nb\n")
    assert shell("hub cat original | hub publish --tsv the-copy", server.url).code == 0
    files = [(server.events / f"{name}.tsv").read_bytes() for name in ("original", "the-copy")]
    assert files[0] == files[1]


def test_lines_go_when_they_come(url: str) -> None:
    with Running("publish", "as-they-come", url=url, stdin=subprocess.PIPE) as publish:
        assert publish.process.stdin is not None
        for number in range(3):
            publish.process.stdin.write(b"line %d\n" % number)
            publish.process.stdin.flush()
            deadline = time.monotonic() + 20
            while True:
                done = run("tail", "-n", "1", "as-they-come", url=url)
                if done.out.endswith(f"line {number}\n"):
                    break
                assert time.monotonic() < deadline, done


def test_ctrl_c_tells_how_far_it_came(url: str) -> None:
    with Running("publish", "broken-off", url=url, stdin=subprocess.PIPE) as publish:
        assert publish.process.stdin is not None
        publish.process.stdin.write(b"one\ntwo\n")
        publish.process.stdin.flush()
        deadline = time.monotonic() + 20
        while run("cat", "broken-off", url=url).code:
            assert time.monotonic() < deadline
        time.sleep(0.1)  # the answer, too
        done = publish.end()
    assert (done.code, done.out) == (130, "")
    assert done.err == "hub: stopped: 2 events were stored, up to line 2\n"


def test_at_a_terminal(url: str) -> None:
    done = at_terminal("publish", "typed-in", url=url, keys=b"typed\n\x04", after=b"Ctrl-D ends")
    assert done.code == 0
    assert '"count":1' in done.out
    assert rows("typed-in", url)[0][2] == "typed"


BIG = b"".join(b"line %d\n" % number for number in range(400_000))


def test_a_long_import_in_batches(server: HubProcess) -> None:
    assert len(BIG) > 2 * BATCH_BYTES
    done = run("publish", "long-import", url=server.url, stdin=BIG)
    assert json.loads(done.out)["count"] == 400_000
    stored = (server.events / "long-import.tsv").read_bytes().split(b"\n")[:-1]
    assert b"".join(line.split(b"\t")[2] + b"\n" for line in stored) == BIG


@pytest.mark.parametrize(
    ("bad", "options", "reason"),
    [
        (b"\xff", [], "it is not UTF-8"),
        (b"a\x0bb", [], "it holds a VT (0x0B)"),
        (b"a\0b", [], "it holds a NUL"),
        (b"oops", ["--json"], "it is not JSON"),
        (b"no tabs", ["--tsv"], "fewer than two TABs"),
        (b"x" * 2_000_000, [], "the limit for an event's data is 1048576"),
    ],
)
def test_a_bad_line_is_named(bad: bytes, options: list[str], reason: str, url: str) -> None:
    good = {"--json": b"1\n", "--tsv": b"\t\tx\n"}.get("".join(options), b"fine\n")
    before = BATCH_BYTES // len(good) + 10
    done = run("publish", "bad-lines", *options, url=url, stdin=good * before + bad + b"\n" + good)
    assert (done.code, done.out) == (1, "")
    assert f"hub: line {before + 1}: " in done.err
    assert reason in done.err
    assert " events were stored" in done.err


def test_a_hub_that_dies_in_the_middle(run_hub: RunHub) -> None:
    hub = run_hub("--durability", "os")
    with Running("publish", "cut-short", url=hub.url, stdin=subprocess.PIPE) as publish:
        stdin = publish.process.stdin
        assert stdin is not None
        stdin.write(b"first\n")
        stdin.flush()
        deadline = time.monotonic() + 20
        while run("cat", "cut-short", url=hub.url).code:
            assert time.monotonic() < deadline
        hub.kill()
        feeder = threading.Thread(target=lambda: (stdin.write(b"second\n"), stdin.flush()))
        feeder.start()
        feeder.join()
        stdin.close()
        publish.process.stdin = None
        done = publish.finish()
    assert done.code == 1
    assert "1 event was stored, up to line 1" in done.err


@pytest.mark.parametrize("arguments", [["a/b", "x"], ["abcd", "x", "--id", "start"], ["abc", "x"]])
def test_what_the_hub_would_refuse(arguments: list[str], url: str) -> None:
    done = run("publish", *arguments, url=url)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("hub: ")
