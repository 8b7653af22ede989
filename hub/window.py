"""Which part of a stream is asked for: the end of a URL's path.

Owns `…/from/{r}/until/{r}/forwards/{n}/backwards/{n}`, in any order, where `r` is a
number, negative from the end on, or `start` or `end`. It must not know what is
numbered, revisions or positions.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from hub.errors import InvalidRequest

WORDS = frozenset({"from", "until", "forwards", "backwards"})

_DIGITS = 18
_START, _END = "start", "end"


class Bounds(Struct, frozen=True):
    """A part of a stream whose length is known: from `low` to `high`, both belong to it.

    It is empty if `low` lies above `high`. With `backwards` the highest comes first.
    """

    low: int
    high: int
    backwards: bool


class Window(Struct, frozen=True):
    """What of a stream is asked for; None stands for what was not said."""

    start: int | str | None = None
    until: int | str | None = None
    forwards: int | None = None
    backwards: int | None = None

    def bounds(self, length: int) -> Bounds:
        """The part that is meant of a stream whose last number is `length`.

        Its `high` may lie beyond that, where `until` does. Who says the ends the
        other way round reads backwards; but who begins behind the last number, as
        those do who have read it, gets nothing.
        """
        low = max(1, _resolve(self.start, 1, length))
        high = max(0, _resolve(self.until, length, length))
        turned = 0 < high < low <= length and self.start is not None and self.until is not None
        if turned:
            low, high = high, low
        if self.backwards is not None:
            high = min(high, length)
            return Bounds(max(low, high - self.backwards + 1), high, True)
        if self.forwards is not None:
            return Bounds(low, min(high, low + self.forwards - 1), False)
        return Bounds(low, high, turned)


def split_window(segments: Sequence[str]) -> tuple[Sequence[str], Window]:
    """Take the words of a window from the end of a path. Raises `InvalidRequest`."""
    end = len(segments)
    while end >= 2 and segments[end - 2] in WORDS:
        end -= 2
    given: dict[str, str] = {}
    for at in range(end, len(segments), 2):
        word = segments[at]
        if word in given:
            raise InvalidRequest(f"'{word}' is given twice")
        given[word] = segments[at + 1]
    if "forwards" in given and "backwards" in given:
        raise InvalidRequest("'forwards' and 'backwards' do not go together: give one of them")
    return segments[:end], Window(
        _revision("from", given.get("from")),
        _revision("until", given.get("until")),
        _amount("forwards", given.get("forwards")),
        _amount("backwards", given.get("backwards")),
    )


def _revision(word: str, text: str | None) -> int | str | None:
    if text is None or text in (_START, _END):
        return text
    number = _number(text)
    if number is None:
        raise InvalidRequest(f"'{word}' must be a whole number, 'start' or 'end', not {text!r}")
    if number == 0:
        raise InvalidRequest(
            f"'{word}' must not be 0: events are counted from 1, and from the end with -1"
        )
    return number


def _amount(word: str, text: str | None) -> int | None:
    if text is None:
        return None
    number = _number(text)
    if number is None or number < 1:
        raise InvalidRequest(f"'{word}' must be a whole number from 1 on, not {text!r}")
    return number


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS):
        return None
    return int(text)


def _resolve(value: int | str | None, default: int, length: int) -> int:
    if value is None:
        return default
    if value == _START:
        return min(1, length)  # nobody waits for a first event by this word
    if value == _END:
        return length
    assert isinstance(value, int)  # noqa: S101
    return value if value > 0 else length + value + 1
