"""Documents that tests make: as the hub writes them, and as people do by hand."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from hub.document import Draft, lines_of
from hub.event import id_at
from tests import examples

BASE = 1_800_000_000_000_000

NUMBERS = [
    "1.10",
    "1e999",
    "-0",
    "-0.0",
    "123456789012345678901234567890",
    "1E+2",
    "0.1e-400",
    "9" * 60,
    "-" + "7" * 5000,
]
"""Numbers that a detour over Python's or JavaScript's would change, or not survive."""


def commit(stream: str, version: int, *payloads: bytes, metadata: bytes = b"") -> bytes:
    """The lines of one commit; its ids are times."""
    ids = [id_at(BASE + version + n).encode() for n in range(len(payloads))]
    draft = Draft(list(payloads), [], f"commit-{version}", metadata)
    return lines_of(draft, stream, version, ids, 1_800_000_000_000 + version)


def written(stream: str, identity: str, payload: Any = None, **metadata: Any) -> bytes:
    """A document as somebody may write it by hand."""
    fields = {"id": identity, **metadata}
    document = {"stream": stream, "payload": payload or {}, "metadata": fields}
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def _shuffled(value: Any) -> st.SearchStrategy[Any]:
    if not isinstance(value, dict):
        return st.just(value)
    inner = st.fixed_dictionaries({key: _shuffled(each) for key, each in value.items()})
    return st.tuples(inner, st.permutations(list(value))).map(
        lambda each: {key: each[0][key] for key in each[1]}
    )


def spellings(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """A document as one line, its keys in any order, with or without spaces and escapes."""
    return st.tuples(
        _shuffled(document),
        st.sampled_from([(",", ":"), (", ", ": "), ("\t,", ":"), (",", ":\r")]),
        st.booleans(),
        st.booleans(),
    ).map(lambda each: _spell(*each))


def _spell(document: Any, separators: tuple[str, str], ascii_only: bool, slashes: bool) -> bytes:
    text = json.dumps(document, separators=separators, ensure_ascii=ascii_only)
    return (text.replace("/", "\\/") if slashes else text).encode() + b"\n"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | examples.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["type", "a", "", "\u2028"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip

payloads = st.dictionaries(
    st.sampled_from(["type", "tags", "data", "a", "ä", "metadata", "id"]), json_values, max_size=4
)
"""Objects, with labels of every kind."""
