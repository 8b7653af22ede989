"""Requests that nobody would send, byte for byte: sound, odd, contradictory, cut off, garbled.

Owns what they are made of, as strategies of Hypothesis: the same seed makes the same
requests. Most are sound but for a thing or two, so that what lies behind the doors is asked,
too. Must not know how they are sent, nor what is to be answered.
"""

from __future__ import annotations

from hypothesis import strategies as st

Bytes = st.SearchStrategy[bytes]


def _words(*texts: str) -> Bytes:
    return st.sampled_from([text.encode() for text in texts])


_ANY = st.binary(max_size=30)
_PRINTED = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=9).map(str.encode)
_ENCODED = st.binary(min_size=1, max_size=6).map(lambda raw: b"".join(b"%%%02x" % c for c in raw))

# Where to

_SEGMENT = st.one_of(
    _words(
        *("a-channel", "b-channel", "streams", "query", "consumers", "ui", "health", "metrics"),
        *("orders", "orders-1", "_all", "join", "category", "commit", "close", "version", "from"),
        *("until", "forwards", "backwards", "after", "stream", "reset", "0", "1", "-1", "end"),
        *("99999999999999999999", "..", ".", "%2e%2e", "..%2f..", "%00", "%", "%zz", "%c0%ae", ""),
        *(".hub", "lock", "a%2Fb", "a%0Ab", "~", "*", "a b", "ü", "index.html"),
        *("a" * 70, "x" * 9000),
    ),
    _ENCODED,
    _PRINTED,
)
_NAME = _words(
    *("id", "event", "since", "until", "limit", "tail", "format", "filter", "selector", "types"),
    *("tags", "streams", "lastEventID", "prefix", "after", "start", "position", "x", "", "%00"),
)
_VALUE = st.one_of(
    _words(
        *("", "1", "-1", "0", "1e9", "start", "end", "tsv", "ndjson", "A,B", "NaN"),
        *("2026-11-20T11:40:10.793214Z", "%0a", "%0d%0aX:1", "%00", "%ff", "%F0%9F%A6%89", "[["),
        *('{"payload":{}}', '{"payload":{"$regex":"(a+)+$"}}', "[%22A%22,[%22B%22]]"),
        *("[" * 100, "9" * 400, "a" * 300),
    ),
    _ENCODED,
)
_QUERY = st.lists(st.tuples(_NAME, _VALUE), max_size=3).map(
    lambda pairs: b"?" + b"&".join(b"=".join(pair) for pair in pairs) if pairs else b""
)
_PATH = st.lists(_SEGMENT, max_size=6).map(lambda parts: b"/" + b"/".join(parts))
_ODD_TARGET = st.one_of(
    st.tuples(_PATH, _QUERY).map(b"".join),
    _words("*", "http://hub/a-channel", "hub:80", "//", "///", "/#x", "", "http://["),
    _words("/?" + "&" * 500),
)
_METHOD = _words(
    *("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PRI"),
    *("get", "G T", "", "X" * 300),
)

# With what

_JSON, _NDJSON, _TSV = "application/json", "application/x-ndjson", "text/tab-separated-values"
_TYPES = (_JSON, _NDJSON, _TSV, "text/plain")
_ACCEPTED = ("text/event-stream", "text/html", _NDJSON, "*/*", "q=", "a" * 500)
_HEADER = st.one_of(
    st.tuples(_words("Content-Type"), _words(*_TYPES)),
    st.tuples(_words("Accept"), _words(*_ACCEPTED)),
    st.tuples(_words("Content-Encoding"), _words("gzip", "deflate", "br", "identity", "gzip,gzip")),
    st.tuples(_words("Accept-Encoding"), _words("gzip", "gzip;q=0", "*", "identity;q=0, *;q=0")),
    st.tuples(_words("Range"), _words("bytes=0-0", "bytes=-5", "bytes=5-", "bytes=9-1", "x")),
    st.tuples(_words("Last-Event-ID", "If-None-Match", "Origin", "Cookie"), _VALUE),
    st.tuples(_words("Connection"), _words("close", "keep-alive", "upgrade", "close, keep-alive")),
    st.tuples(_words("Expect"), _words("100-continue", "200-ok")),
)
_LENGTHS = ("0", "5", "-1", "+5", "5,5", "0x5", "9" * 30, " 5 ")
_ODD_HEADER = st.one_of(
    st.tuples(_words("Content-Length"), _words(*_LENGTHS)),
    st.tuples(_words("Transfer-Encoding"), _words("chunked", "gzip", "chunked, chunked", "x")),
    st.tuples(_words("Upgrade"), _words("websocket", "h2c")),
    st.tuples(_words("Host"), _words("hub", "", "a b", "hub:99999999", "[::1")),
    st.tuples(_PRINTED, _ANY),
    st.tuples(_words("X"), _words("x" * 8000, "y" * 9000, "\0", "\x7f", "a\tb", "ä")),
)
_TOO_MANY = st.sampled_from([100, 127, 129, 5000])
_BODY = st.one_of(
    _words(
        *("", "x", "id\ttype\tdata\n", "\t\t\n", "a\tb\n", "a\r\nb\r", "null", "\0", "\ufeff{}"),
        *("{}", '{"events":[]}', '{"events":[{"type":"A","n":1}]}', '{"payload":{"type":"A"}}'),
        *('{"events":[{"type":1}],"expectedVersion":"x"}', '{"type":"A","type":"B"}\n'),
        *('{"handler":"while(1);"}', '{"a":1}\n{"b":NaN}\n'),
        *("[" * 3000, "1" * 5000, "z" * 70_000),
    ),
    _ANY,
)
_CHUNK = st.one_of(
    _BODY.map(lambda raw: b"%x\r\n%b\r\n" % (len(raw), raw)),
    _words("0\r\n\r\n", "0\r\nX: y\r\n\r\n", "5;ext=1\r\nhello\r\n"),
    _words("-1\r\n", "ffffffffffffffff1\r\n", "g\r\n", "5\nhello\n", "1\r\n", "\r\n"),
    _words("5\r\nhelloX\r\n"),
)
_LINE_END = st.sampled_from([b"\n", b"\r", b"\r\n "])

# Whole requests

_COMMIT = "/streams/orders/commit"
_SOUND = [
    ("POST", "/a-channel?event=A", "text/plain", "x"),
    ("POST", "/a-channel?id=7", "", "a\r\nb"),
    ("POST", "/a-channel", _TSV, "id\ttype\tdata\n\t\tmore\n"),
    ("POST", "/b-channel", _NDJSON, '{"type":"A","n":1}\n{"type":"B"}\n'),
    ("PUT", "/b-channel?format=ndjson", "", ""),
    ("POST", _COMMIT, _JSON, '{"events":[{"type":"A","tags":["x"]}],"metadata":{"who":"me"}}'),
    ("POST", _COMMIT, _JSON, '{"events":[{"type":"A"}],"expectedVersion":0}'),
    (
        *("POST", "/streams/a%2Fb/commit", _JSON),
        '{"events":[{"type":"B"}],"condition":{"selector":["A"],"noneMatchAfter":0}}',
    ),
    ("POST", "/streams/b-channel/close", "", ""),
    ("PUT", "/streams/view", _JSON, '{"payload":{"type":"A"}}'),
    ("DELETE", "/streams/view", "", ""),
    (
        "PUT",
        "/consumers/c1/stream/orders",
        _JSON,
        '{"handler":"(e,s)=>({n:s.n+1})","state":{"n":0}}',
    ),
    ("PUT", "/consumers/c2/stream/_all/from/1", _JSON, '{"handler":"()=>{for(;;);}"}'),
    ("POST", "/consumers/c1/reset", "", ""),
    ("DELETE", "/consumers/c1", "", ""),
    *(
        ("GET", path, "", "")
        for path in (
            *("/", "/health", "/metrics", "/ui/", "/ui/hub.js", "/a-channel", "/a-channel?tail=3"),
            *("/b-channel?since=start&limit=2", "/a-channel?event=A,B&until=7", "/streams?limit=2"),
            *("/streams/orders", "/streams/orders/from/1/until/9", "/streams/orders/version"),
            *("/streams/_all/from/-3/forwards/2", "/streams/_all/backwards/3", "/streams/view"),
            *("/streams/join?streams=orders,b-channel", '/streams/join?selector=[["A","tags/x"]]'),
            *("/streams/category/orders", '/streams/orders?filter={"payload":{"type":"A"}}'),
            *("/query?types=A,B", '/query/from/1?query={"items":[{"types":["A"],"tags":["x"]}]}'),
            *("/consumers", "/consumers/c1", "/consumers/c1/until/1", "/consumers/c2/after/0"),
        )
    ),
]
_PLAIN_TARGET = st.one_of(
    _words("/plain-channel?event=A", "/a-channel?id=8", _COMMIT, "/a-channel?x HTTP/1.1\r\nX: y"),
    st.tuples(_words("/plain-channel", _COMMIT), _QUERY).map(b"".join),
    _ODD_TARGET,
)
_CHANGES = st.sampled_from(
    [
        *["nothing"] * 16,
        *["header"] * 4,
        *("query", "query", "target", "method", "body", "body", "chunked", "chunked"),
        *("length", "odd header", "odd header", "many headers", "lines", "stays open"),
    ]
)


@st.composite
def _request(draw: st.DrawFn) -> bytes:
    """A sound request, up to three things of which are changed."""
    method, target, kind, body = (each.encode() for each in draw(st.sampled_from(_SOUND)))
    changes = {draw(_CHANGES), draw(_CHANGES), draw(_CHANGES)}
    if "target" in changes:
        target = draw(_ODD_TARGET)
    if "query" in changes:
        target += draw(_QUERY).replace(b"?", b"&" if b"?" in target else b"?", 1)
    if "method" in changes:
        method = draw(_METHOD)
    if "body" in changes:
        body = draw(_BODY)
    headers = [(b"Host", b"hub")]
    if kind:
        headers.append((b"Content-Type", kind))
    if "header" in changes:
        headers += draw(st.lists(_HEADER, min_size=1, max_size=2))
    if "odd header" in changes:
        headers.append(draw(_ODD_HEADER))
    if "many headers" in changes:
        headers += [(b"X-%d" % number, b"y") for number in range(draw(_TOO_MANY))]
    if "chunked" in changes:
        headers.append((b"Transfer-Encoding", b"chunked"))
        chunks = draw(st.lists(_CHUNK, max_size=3))
        body = b"".join([b"%x\r\n%b\r\n" % (len(body), body)] * bool(body) + chunks)
        body += draw(st.sampled_from([b"0\r\n\r\n", b"0\r\n\r\n", b""]))
    elif body or "length" in changes:
        size = len(body) + (draw(st.integers(-3, 3)) if "length" in changes else 0)
        headers.append((b"Content-Length", b"%d" % size))
    if "stays open" not in changes:
        headers.append((b"Connection", b"close"))
    end = draw(_LINE_END) if "lines" in changes else b"\r\n"
    lines = [b"%b %b HTTP/1.1" % (method, target), *(b": ".join(pair) for pair in headers)]
    return end.join(lines) + end + end + body


_SENT = st.sampled_from(["one"] * 14 + ["garbled", "garbled", "cut"] + ["some"] * 2 + ["bytes"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """What goes over one connection: mostly one request."""
    how = draw(_SENT)
    if how == "bytes":
        return draw(st.binary(max_size=400))
    data = draw(_request())
    if how == "some":
        # So that the next is read, too.
        data = data.replace(b"Connection: close\r\n", b"") + draw(_request())
    return _spoilt(draw, how, data)


PLAIN = b"POST /plain-channel?event=A HTTP/1.1\r\nHost: hub\r\nContent-Length: %d\r\n\r\n%b"
FIRST = PLAIN % (1, b"x")
"""After which the hub knows this head. Nothing else is done to its channel, as to close it."""


@st.composite
def behind(draw: st.DrawFn) -> bytes:
    """What goes over a connection behind `FIRST`: the same head but for some of it."""
    target = draw(_PLAIN_TARGET)
    body = draw(st.just(b"x") | _BODY)
    length = draw(st.just(b"%d" % len(body)) | _words(*_LENGTHS))
    data = PLAIN.replace(b"%d", b"%b") % (length, body)
    data = data.replace(b"/plain-channel?event=A", target, 1)
    how = draw(_SENT)
    if how == "some":
        data += draw(st.just(FIRST) | _request())
    return _spoilt(draw, how, data)


def _spoilt(draw: st.DrawFn, how: str, data: bytes) -> bytes:
    if how == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if how == "garbled":
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(data) - 1))
            data = data[:at] + draw(st.binary(min_size=1, max_size=2)) + data[at + 1 :]
    return data
