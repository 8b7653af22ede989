"""What the client gives and takes, as values.

Owns the names of their members. It must not know how they come over the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, overload

from msgspec import Struct, field

from hub import event as core
from hub.client.payloads import from_json
from hub.errors import HubError

T = TypeVar("T")


class Event(core.Event, frozen=True, gc=False):
    """One event of a channel: `id`, `event` (its type, perhaps empty), `data` (text)."""

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, kind: type[T]) -> T: ...
    def json(self, kind: Any = Any) -> Any:
        """The data as JSON, by `msgspec` as a `kind` if one is given: a Struct, a dataclass.

        Integers of any size stay exact. A number with a fraction is a float if that
        reads the same (1.10 is 1.1), else a `Decimal`. Raises `InvalidEvent` if it is no such JSON.

        Example::

            event = Event("1", "placed", '{"item": "tea", "price": 4}')
            assert event.json()["price"] == 4
        """
        return from_json(self.data, kind)


class Published(Struct, frozen=True):
    """How many events were stored, and the ids of the first and the last; None if none was."""

    count: int = 0
    first: str | None = None
    last: str | None = None

    def plus(self, other: Published) -> Published:
        """Both together, the other one being later."""
        if not other.count:
            return self
        return Published(
            self.count + other.count, self.first if self.count else other.first, other.last
        )


class Reconnecting(Struct, frozen=True):
    """What `on_reconnect` is told, each time that a connection has to be made again.

    `error` is why, None if the hub has ended the connection in good order; `attempt`
    counts from 1 and begins again with each connection that comes about; `seconds` is
    the time that will be waited.
    """

    error: HubError | None
    attempt: int
    seconds: float


class Document(Struct, frozen=True):
    """One event of a stream: `stream` is its log, `payload` what was committed.

    `metadata` has the `id`, the `streamVersion` before the event, and what else the
    commit gave it. `number` is its place in what is followed, a revision or a
    position; None in a read.
    """

    stream: str
    payload: dict[str, Any]
    metadata: dict[str, Any]
    number: int | None = None

    @property
    def id(self) -> str:
        """The id, as a channel shows it."""
        return str(self.metadata["id"])

    @property
    def type(self) -> str:
        """The payload's `type`, or nothing."""
        kind = self.payload.get("type")
        return kind if isinstance(kind, str) else ""

    @property
    def revision(self) -> int | None:
        """The place in its log, from 1 on."""
        version = self.metadata.get("streamVersion")
        return version + 1 if isinstance(version, int) else None


class Commit(Struct, frozen=True):
    """What was committed. `committed_at` is in milliseconds since 1970.

    The stream had `stream_version` before, and has `version` now; `position` is that
    of the last event in the order of all.
    """

    id: str
    committed_at: int
    stream: str
    stream_version: int
    version: int
    position: int
    events: list[dict[str, Any]]
    metadata: dict[str, Any]


class Stream(Struct, frozen=True):
    """A stream as the list has it. `format` is that of its file: `tsv` or `ndjson`.

    `metadata` of a log has its `bytes`, its `lastId`, and its `lastTime` in milliseconds
    since 1970; that of a derived stream is empty.
    """

    name: str = field(name="stream")
    version: int
    closed: bool
    format: str | None
    derived: bool
    metadata: dict[str, Any] = {}


class Query(Struct, frozen=True):
    """Which events are asked for, whichever stream they went to.

    Those of one of `types`, if there are any, that have all of `tags`; or of any of
    `items`, each `{"types": […], "tags": […]}`; or what a `selector` means. Of these,
    those that `filter`, a matcher, matches.
    """

    types: Sequence[str] = ()
    tags: Sequence[str] = ()
    items: Sequence[Mapping[str, Sequence[str]]] = ()
    selector: Sequence[Any] | None = None
    filter: Mapping[str, Any] | None = None


class Decision(Struct, frozen=True):
    """What a decider wants: these events in this stream."""

    stream: str
    events: Sequence[Any]
    metadata: Mapping[str, Any] | None = None


class Consumer(Struct, frozen=True):
    """A consumer: its state after the event with the number `position`.

    `status` is `"stopped"` if it has stopped, and `error` why; else both are None.
    """

    identifier: str
    stream: str
    position: int
    state: Any
    status: str | None = None
    error: str | None = None
