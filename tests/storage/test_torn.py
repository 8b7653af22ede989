"""What is cut off a log is kept, whatever the log's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.storage.torn import Torn


@pytest.fixture
def torn(tmp_path: Path) -> Torn:
    return Torn(tmp_path / "torn")


def kept(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "torn").iterdir()}


def test_what_stands_behind_a_place_is_kept(tmp_path: Path, torn: Torn) -> None:
    path = tmp_path / "a-log.tsv"
    path.write_bytes(b"sound\ntorn")
    torn.keep(path, 6)
    assert kept(tmp_path) == {"a-log.tsv-6": b"torn"}


def test_so_it_is_of_logs_with_the_longest_names(tmp_path: Path, torn: Torn) -> None:
    names = ["x" * 250 + ".tsv", "x" * 249 + "y.tsv"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
        torn.keep(tmp_path / name, 200)
    assert sorted(kept(tmp_path).values()) == sorted(name[200:].encode() for name in names)
    assert all(name.endswith("-200") for name in kept(tmp_path))


def test_what_cannot_be_kept_is_told(
    tmp_path: Path, torn: Torn, caplog: pytest.LogCaptureFixture
) -> None:
    torn.keep(tmp_path / "none", 0)
    assert "could not keep what is cut off" in caplog.text
