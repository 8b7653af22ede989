"""The columns of the index."""

from __future__ import annotations

import re
import sqlite3
import zlib

from hub.storage.schema import SCHEMA, VERSION


def test_version_changes_with_the_schema() -> None:
    """Whoever changes the columns must raise the version: this test says so."""
    columns = re.sub(r"--.*|\s+", "", SCHEMA)
    assert (VERSION, zlib.crc32(columns.encode())) == (6, 3606175076)


def test_no_column_may_be_empty() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(SCHEMA)
    for table in ("logs", "runs", "given", "labelled", "derived", "members", "postings"):
        columns = db.execute(f"PRAGMA table_info({table})").fetchall()
        assert all(required or key for _, _, _, required, _, key in columns)
    db.close()
