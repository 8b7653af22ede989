"""What events can be found by in the index: the terms of their lines.

Owns how a type or a tag becomes a term, and which terms stand in lines of
either format. Terms are hashes: whoever finds a run by one looks at its events
before he believes it. A line that cannot be read has none.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from hashlib import blake2b

import msgspec

from hub.document import Keys, labels_reader, payload_labels_reader
from hub.formats import LINE_BREAK, NDJSON, NOT_JSON, split_rows

_HASH_BYTES = 7
"""So that a term is an integer that SQLite can hold."""

_REMEMBERED = 16_384
_SHORT = 200


class Kind(Enum):
    """What a term is the name of."""

    TYPE = b"type"
    TAG = b"tag"


def term_of(kind: Kind, name: str) -> int:
    """The term for a name."""
    return _remembered(kind, name) if len(name) <= _SHORT else _hash(kind, name)


def _hash(kind: Kind, name: str) -> int:
    text = name.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=_HASH_BYTES, person=kind.value).digest(), "big")


_remembered = lru_cache(maxsize=_REMEMBERED)(_hash)


def terms_of(lines: list[bytes], form: str, keys: Keys) -> set[int]:
    """The terms of whole lines, without their LF, of a log in this format."""
    types: set[str] = set()
    tags: set[str] = set()
    if form == NDJSON:
        _read_documents(lines, keys, types, tags)
    else:
        _read_rows(lines, keys, types, tags)
    types.discard("")
    found = {term_of(Kind.TYPE, each) for each in types}
    if tags:
        found.update([term_of(Kind.TAG, each) for each in tags])
    return found


def _read_documents(lines: list[bytes], keys: Keys, types: set[str], tags: set[str]) -> None:
    read = labels_reader(keys)
    for line in lines:
        try:
            labels = read(line)
        except NOT_JSON:
            continue
        types.add(labels.type)
        if labels.tags:
            tags.update(labels.tags)


def _read_rows(lines: list[bytes], keys: Keys, types: set[str], tags: set[str]) -> None:
    text = b"\n".join(lines) + b"\n"
    rows = [row for row in split_rows(text) if len(row) == 3]
    types.update([each.decode(errors="replace") for each in {row[1] for row in rows}])
    # Only data that is an object has labels of its own; its keys may be spelled with escapes.
    if b"\\u" not in text and not any(
        msgspec.json.encode(key) in text for key in (keys.type, keys.tags)
    ):
        return
    read = payload_labels_reader(keys)
    for _, _, data in rows:
        if data.lstrip(b" \t\x0b")[:1] == b"{":
            try:
                labels = read(data.replace(LINE_BREAK, b"\n"))
            except NOT_JSON:
                continue
            types.add(labels.type)
            tags.update(labels.tags)
