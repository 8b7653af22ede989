"""Events and bytes that tests draw at random, and ways to cut them into pieces."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from hub.event import START, Event

BREAKS = "\n\r\x0b\x0c\x1c\x85\u2028\u2029"
"""Everything that `str.splitlines` takes for the end of a line; here, LF alone is one."""

_COMMON = st.sampled_from("ab 0:{}\"\\'~\ufeff\U0001f600ä" + BREAKS)
_ANY = st.characters(exclude_categories=["Cs"])
_CONTROLS = "".join(map(chr, range(32))) + "\x7f"


def text(exclude: str = "", max_size: int = 20) -> st.SearchStrategy[str]:
    """Text with many characters that are special somewhere, but none of those excluded."""
    characters = st.one_of(_COMMON, _ANY).filter(lambda each: each not in exclude)
    return st.text(characters, max_size=max_size)


def _is_id(value: str) -> bool:
    return value not in START and value == value.strip(" ")


ids = text(_CONTROLS, 8).filter(_is_id)
types = text("\t\n\r\0", 8)
data = text("\r\0\x0b")


def events(identity: st.SearchStrategy[str] = ids) -> st.SearchStrategy[Event]:
    """Events that a log can hold; pass `ids.filter(bool)` for such as have an id."""
    return st.builds(Event, identity, types, data)


def pieces(whole: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The bytes in pieces, cut at places that may be beyond their end."""
    start = 0
    for cut in sorted(min(cut, len(whole)) for cut in cuts):
        yield whole[start:cut]
        start = cut
    yield whole[start:]


def bytewise(whole: bytes) -> Iterator[bytes]:
    """The bytes one by one."""
    return (whole[at : at + 1] for at in range(len(whole)))


cuts = st.lists(st.integers(0, 400), max_size=8)
