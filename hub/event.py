"""What an event is, what it may be called, and how time becomes an id.

Owns `Event`, the rules for ids, types and names, and the hub's id form. It
must not know how events are written down (`formats`) or where (`storage`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote

from msgspec import Struct

from hub.errors import InvalidEvent, InvalidName, TooLarge

MICROSECONDS = 1_000_000
"""Microseconds in a second: the resolution of ids."""

ID_LENGTH = 27
"""Characters of an id in the hub's own form, `2026-11-20T11:40:10.793214Z`."""

START = frozenset({"start", "earliest"})
"""Cursors that mean the beginning of a log; therefore never ids."""

UNFIT_ID = (
    "the id holds a TAB, LF, CR, NUL or another control character, or a space at its start or "
    "end: it could not come back in a Last-Event-ID header"
)

EVENT_BYTES = 1024 * 1024
ID_BYTES = 256
TYPE_BYTES = 256

STREAM_LENGTH = 200
"""Characters that the name of a stream may have."""

_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*(?:[/:@~+=#.-][A-Za-z0-9][A-Za-z0-9_]*)*", re.ASCII)
_LONGEST_FORM = "ndjson"
_FILE_NAME_BYTES = 255
_CHANNEL = re.compile(r"[A-Za-z0-9_-]{4,64}", re.ASCII)
_UNDERSCORED = re.compile(r"_[A-Za-z]+", re.ASCII)
_RESERVED = frozenset({"streams", "query", "consumers", "health", "metrics"})
_FORBIDDEN_IN_FIELD = re.compile("[\t\n\r\0]")
_UNFIT_FOR_HEADER = re.compile(r"[\0-\x1f\x7f]|\A | \Z")
# A space stands for the + of a zone: so a URL's parameter reads that was not encoded.
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|(?P<sign>[+ -])\d\d:?\d\d)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CONTROLS = bytes(set(range(32)) - set(b"\n")) + b"\x7f"  # but LF, which no id can hold
# Every digit becomes 0, so that one comparison tells the shape of many ids.
_DIGITS_TO_0 = bytes(ord("0") if chr(c).isdigit() and c < 128 else c for c in range(256))
_ID_SHAPE = b"0000-00-00T00:00:00.000000Z"
_LONG_AHEAD = 2**62  # beyond every time that an id can read as
# An id of a later year is kept, but never makes the hub's own ids overflow.
_LAST_CLOCK = 253_370_764_800 * MICROSECONDS  # 9999-01-01


class Event(Struct, frozen=True, gc=False):
    """One event: text in three fields.

    `id` is empty only before the hub has given one; `event` is the type and
    may be empty; line breaks in `data` are LF.
    """

    id: str
    event: str
    data: str


class Limits(Struct, frozen=True):
    """The most bytes of UTF-8 that each part of an event may have."""

    event_bytes: int = EVENT_BYTES
    id_bytes: int = ID_BYTES
    type_bytes: int = TYPE_BYTES


@lru_cache(maxsize=4096)
def check_channel_name(name: str) -> str:
    """Return `name` if a channel can have it; else raise `InvalidName`."""
    if not _CHANNEL.fullmatch(name):
        raise InvalidName(
            f"{name!r} is not a channel name: 4 to 64 letters, digits, '_' or '-' are"
        )
    if name in _RESERVED or _UNDERSCORED.fullmatch(name):
        raise InvalidName(
            f"{name!r} is reserved: a channel cannot be called 'streams', 'query', 'consumers', "
            "'health', 'metrics', or '_' followed by letters only"
        )
    return name


@lru_cache(maxsize=4096)
def check_stream_name(name: str) -> str:
    """Return `name` if a log can have it; else raise `InvalidName`.

    A channel's names are streams' names too.
    """
    if is_channel_name(name):
        return name
    if len(name) > STREAM_LENGTH or not _STREAM.fullmatch(name):
        raise InvalidName(
            f"{name[:STREAM_LENGTH]!r} is not a stream name: parts that begin with a letter or "
            "digit and go on with letters, digits, '_', joined by one of / : @ ~ + = - # . are, "
            f"{STREAM_LENGTH} characters at most"
        )
    if len(file_name(name, _LONGEST_FORM)) > _FILE_NAME_BYTES:
        raise InvalidName(
            f"{name!r} is too long for the name of a file, in which each of / : @ ~ + = # takes "
            f"three characters: {_FILE_NAME_BYTES} are possible"
        )
    return name


def is_stream_name(name: str) -> bool:
    """Whether a log can have this name."""
    try:
        check_stream_name(name)
    except InvalidName:
        return False
    return True


def is_channel_name(name: str) -> bool:
    """Whether a channel can have this name."""
    try:
        check_channel_name(name)
    except InvalidName:
        return False
    return True


def file_name(name: str, form: str) -> str:
    """The file of a log: its name, percent-encoded where it must be, and its format."""
    return f"{quote(name, safe='').replace('~', '%7E')}.{form}"


def check_id(value: str, limit: int = ID_BYTES) -> str:
    """Return an event's id as given by a client; raise `InvalidEvent` if it cannot be one."""
    if value in START:
        raise InvalidEvent(
            f"an id cannot be {value!r}: as a cursor that means the beginning of the log"
        )
    if not fits_header(value):
        raise InvalidEvent(UNFIT_ID)
    return _check_field("id", value, limit)


def fits_header(value: str) -> bool:
    """Whether a header, like `Last-Event-ID`, can carry this text and give it back unchanged."""
    return not _UNFIT_FOR_HEADER.search(value)


def ids_fit_header(ids: Iterable[bytes]) -> bool:
    """Whether a header can carry each of these."""
    joined = b"\n".join([b"", *ids, b""])
    return (
        b" \n" not in joined
        and b"\n " not in joined
        and len(joined) == len(joined.translate(None, _CONTROLS))
    )


def check_type(value: str, limit: int = TYPE_BYTES) -> str:
    """Return an event's type as given by a client; raise `InvalidEvent` if it cannot be one."""
    return _check_field("event type", value, limit)


def _check_field(what: str, value: str, limit: int) -> str:
    if not value:
        return value
    if _FORBIDDEN_IN_FIELD.search(value):
        raise InvalidEvent(f"the {what} holds a TAB, LF, CR or NUL, which it must not")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise InvalidEvent(f"the {what} is not UTF-8") from None
    if size > limit:
        raise InvalidEvent(f"the {what} has {size} bytes; the limit is {limit}")
    return value


def check_size(size: int, limit: int) -> None:
    """Raise `TooLarge` if an event's data of `size` bytes passes `limit`."""
    if size > limit:
        raise TooLarge(f"the event's data has {size} bytes or more; the limit is {limit}")


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    moment = time.gmtime(seconds)
    return (
        f"{moment.tm_year:04}-{moment.tm_mon:02}-{moment.tm_mday:02}"
        f"T{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}."
    )


def id_at(microseconds: int) -> str:
    """The id in the hub's own form for a time in microseconds since 1970, UTC."""
    seconds, fraction = divmod(microseconds, MICROSECONDS)
    return f"{_second(seconds)}{fraction:06}Z"


def ids_from(microseconds: int, count: int) -> list[bytes]:
    """`count` ids in the hub's own form, one microsecond apart."""
    ids: list[bytes] = []
    while count:
        seconds, fraction = divmod(microseconds, MICROSECONDS)
        here = min(count, MICROSECONDS - fraction)
        form = _second(seconds).encode() + b"%06dZ"
        ids += [form % f for f in range(fraction, fraction + here)]
        microseconds += here
        count -= here
    return ids


def time_of(text: str) -> int | None:
    """Microseconds since 1970 if `text` reads as an ISO 8601 time, else None.

    Without a zone it is UTC; a date alone is its midnight.
    """
    match = _TIME.fullmatch(text)
    if not match:
        return None
    if match["sign"] == " ":
        text = f"{text[: match.start('sign')]}+{text[match.end('sign') :]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # the 31st of February
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return (moment - _EPOCH) // _MICROSECOND
    except OverflowError:
        return None


def is_hub_form(text: bytes) -> bool:
    """Whether an id looks like one that the hub gives."""
    return text.translate(_DIGITS_TO_0) == _ID_SHAPE


class IdOrder(Struct):
    """What is known of the ids of a log, or of a batch, in their order.

    `clock`: the highest time, in microseconds, of the ids in the hub's own
    form; the next id that the hub gives lies above it. `ordered`: every id
    reads as a time and none is earlier than the one before, so that a place
    can be found by halving. `earliest`, `latest`: the times of the first and
    of the last id, when ordered.
    """

    clock: int = 0
    earliest: int = _LONG_AHEAD
    latest: int = -_LONG_AHEAD
    ordered: bool = True

    def extend(self, ids: Sequence[bytes]) -> None:
        """Take in the next ids of the log."""
        if not ids or self._extend_at_once(ids):
            return
        for each in ids:
            self._take(each)

    def append(self, other: IdOrder) -> None:
        """Take in what is known of ids that follow."""
        self.clock = max(self.clock, other.clock)
        self.ordered = self.ordered and other.ordered and other.earliest >= self.latest
        self.earliest = min(self.earliest, other.earliest)
        self.latest = max(self.latest, other.latest)

    def append_own(self, first: int, last: int) -> None:
        """Take in ids that the hub gave for the times from `first` to `last`."""
        if first < self.latest:
            self.ordered = False
        self.earliest = min(self.earliest, first)
        self.latest = max(self.latest, last)
        self.clock = max(self.clock, last)

    def next_clock(self, now: int) -> int:
        """The time for the next id of the hub, given the wall clock's time."""
        return now if now > self.clock else self.clock + 1

    def _extend_at_once(self, ids: Sequence[bytes]) -> bool:
        """The usual case, without a look at each: all in the hub's form and rising."""
        if set(map(len, ids)) != {ID_LENGTH}:
            return False
        if b"".join(ids).translate(_DIGITS_TO_0) != _ID_SHAPE * len(ids):
            return False
        if len(ids) > 1 and list(ids) != sorted(ids):
            return False
        first, last = time_of(ids[0].decode()), time_of(ids[-1].decode())
        if first is None or last is None or last >= _LAST_CLOCK:
            return False
        self.append_own(first, last)
        return True

    def _take(self, each: bytes) -> None:
        moment = time_of(each.decode())
        if moment is None:
            self.ordered = False
            return
        clock = self.clock
        self.append_own(moment, moment)
        if not is_hub_form(each) or moment >= _LAST_CLOCK:
            self.clock = clock
