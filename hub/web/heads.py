"""Heads that come again: those of one client's requests differ in target and length only.

Parsing a head takes longer than storing an event. One that has been parsed before, byte for
byte but for these two, says the same again. Owns where a request ends, and which parts of its
head may differ. Whatever is not plain is left to the parser. Must not know what is asked for.
"""

from __future__ import annotations

import re

from msgspec import Struct

HEAD_BYTES = 2048
"""Longer heads are the parser's alone: to look at one takes time, and a connection holds one."""

UNKNOWN = -1
"""Bytes of a request: only the parser knows."""

_POST = b"POST "
_HEAD = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS) [!-~]+"
    rb"( HTTP/1\.1\r\n(?:[\w!#$%&'*+.^`|~-]+: [\t -~]*\r\n)*\r\n)"
)
_FRAMING = re.compile(rb"\r\n(?:Content-Length|Transfer-Encoding|Upgrade):", re.I)
_LENGTH = re.compile(rb"\r\nContent-Length: ([1-9][0-9]{0,9})(?=\r\n)", re.I)


class Head(Struct, frozen=True):
    """What stands between the target of a POST and the length of its body, and behind that."""

    before: bytes
    after: bytes

    def read(self, data: bytes) -> tuple[str, bytes] | None:
        """Target and body, if `data` is this head with its body and nothing else; else None.

        Whether the target is one must be looked at.
        """
        before, after = self.before, self.after
        line = data.find(before, len(_POST), HEAD_BYTES)
        if line < 0 or not data.startswith(_POST):
            return None
        start = line + len(before)
        length = data[start : data.find(b"\r", start, start + 10)]
        end = start + len(length)
        if not (length.isdigit() and data.startswith(after, end)) or length < b"1":
            return None
        body = data[end + len(after) :]
        if len(body) != int(length):
            return None
        return data[len(_POST) : line].decode("latin-1"), body


def framing(data: bytes) -> tuple[int, Head | None]:
    """How many bytes the request has that `data` begins with, or `UNKNOWN`; a POST's head, too."""
    found = _HEAD.match(data, 0, HEAD_BYTES)
    if found is None:
        return UNKNOWN, None
    rest = found[1]
    framed = len(_FRAMING.findall(rest))
    if not framed:
        return found.end(), None
    length = _LENGTH.search(rest)
    if length is None or framed > 1:
        return UNKNOWN, None
    size = found.end() + int(length[1])
    if not data.startswith(_POST):
        return size, None
    return size, Head(rest[: length.start(1)], rest[length.end(1) :])
