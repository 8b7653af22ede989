"""An events directory that a hub has written, and ways to damage it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import urllib.request
from collections.abc import Callable
from pathlib import Path

from hub.storage.indexverification import Finding
from hub.storage.verification import Verification
from tests.process import HubProcess

Damage = Callable[[Path], object]


def write(hub: HubProcess, posts: int = 20, commits: int = 5) -> None:
    """Post to channel `orders`, and commit three events at a time to stream `acc-1`."""
    lines = b"".join(b'\tplaced\t{"n":%d}\n' % number for number in range(posts))
    ask(hub, "/orders", lines, "text/tab-separated-values")
    ask(hub, "/other", b"once")
    for number in range(commits):
        write_commit(hub, "acc-1", 3, f"T{number}")
    ask(hub, "/streams/of-type-t1", b'{"payload": {"type": "T1"}}', method="PUT")
    ask(hub, "/streams/of-type-t1")
    handler = b'{"handler": "(event, state) => ({n: (state.n ?? 0) + 1})"}'
    ask(hub, "/consumers/count/stream/orders", handler, method="PUT")
    ask(hub, f"/consumers/count/until/{posts}")


def write_commit(hub: HubProcess, stream: str, count: int, kind: str = "T") -> None:
    events = [{"type": kind, "tags": ["a:1"], "n": each} for each in range(count)]
    ask(hub, f"/streams/{stream}/commit", json.dumps({"events": events}).encode())


def ask(
    hub: HubProcess, path: str, body: bytes | None = None, kind: str = "", method: str = ""
) -> bytes:
    headers = {"Content-Type": kind or "text/plain"}
    request = urllib.request.Request(hub.url + path, body, headers, method=method or None)
    with urllib.request.urlopen(request) as answer:
        content: bytes = answer.read()
    return content


def copy(written: Path, to: Path) -> Path:
    """Like the original, also in its times, by which the index knows a file."""
    shutil.copytree(written, to, copy_function=shutil.copy2)
    return to


def findings(directory: Path) -> list[Finding]:
    return list(Verification(directory).run())


def told(directory: Path) -> list[tuple[str, int | None, bool]]:
    """File, line and gravity of each finding."""
    return [(each.path.name, each.line, each.grave) for each in findings(directory)]


def replace(name: str, old: bytes, new: bytes) -> Damage:
    """Damage that puts other bytes in the place of some that stand once in a file."""

    def do(directory: Path) -> None:
        content = (directory / name).read_bytes()
        assert content.count(old) == 1, content
        (directory / name).write_bytes(content.replace(old, new))

    return do


def append(name: str, text: bytes) -> Damage:
    def do(directory: Path) -> None:
        with open(directory / name, "ab") as file:
            file.write(text)

    return do


def lines(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    """Damage that makes other lines of those of a file."""

    def do(directory: Path) -> None:
        content = (directory / name).read_bytes().split(b"\n")[:-1]
        (directory / name).write_bytes(b"".join(each + b"\n" for each in change(content)))

    return do


def in_index(statement: str) -> Damage:
    def do(directory: Path) -> None:
        with sqlite3.connect(directory / ".hub" / "index.sqlite") as db:
            assert db.execute(statement).rowcount > 0
        db.close()

    return do
