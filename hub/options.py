"""Every option of the hub, its default and its meaning, in one frozen class.

`hub.cli` makes a flag and an environment variable of each; nothing else holds
a default. It belongs to the core: every layer may read it.
"""

from __future__ import annotations

import re
from dataclasses import Field, dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from hub.document import TAGS_KEY, TYPE_KEY, Keys
from hub.event import EVENT_BYTES, ID_BYTES, TYPE_BYTES, Limits

REQUEST_BYTES = 64 * 1024 * 1024
HELD_BYTES = 512 * 1024 * 1024
SUBSCRIPTIONS = 10_000
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 2000
CONNECTIONS = 20_000
IDLE_SECONDS = 75.0
BODY_SECONDS = 30.0
SYNC_SECONDS = 0.1
READ_SECONDS = 10.0
CONSUMERS = 1000
CONSUMER_WORKERS = 2
CONSUMER_SECONDS = 2.0
CONSUMER_MEMORY_BYTES = 64 * 1024 * 1024
STATE_BYTES = 8 * 1024 * 1024
HANDLER_BYTES = 64 * 1024

MOST_ID_BYTES = 2048
"""An id comes back as a cursor: in a header, or in a URL, where each byte takes up to three, and of
either aiohttp reads 8190."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+/?", re.IGNORECASE)


class Durability(StrEnum):
    """What an acknowledgement promises."""

    ALWAYS = "always"  # on disk
    INTERVAL = "interval"  # handed to the system; on disk within the sync interval
    OS = "os"  # handed to the system


def _option(default: Any, text: str, least: float | None = None, most: float | None = None) -> Any:
    return field(default=default, metadata={"help": text, "least": least, "most": most})


@dataclass(frozen=True)
class Options:
    """The hub's settings. `metadata["help"]` of each field explains it to a person."""

    host: str = _option("127.0.0.1", "Address to listen on; 0.0.0.0 for every network.")
    port: int = _option(9000, "Port to listen on; 0 for any free one.", least=0, most=65535)
    events: Path = _option(Path("events"), "Directory of the event files; made if missing.")
    durability: Durability = _option(
        Durability.ALWAYS,
        "What an answer to a write promises: 'always', it is on disk; 'interval', it is handed "
        "to the system and on disk after the sync interval; 'os', it is handed to the system.",
    )
    sync_interval: float = _option(
        SYNC_SECONDS, "Seconds between syncs with --durability interval.", least=0.001
    )
    cors: tuple[str, ...] = _option(
        (),
        "Origin whose pages may read and write, as https://example.com, or * for every one. "
        "Can be given several times; in the environment, separate them by spaces.",
    )
    max_event_bytes: int = _option(EVENT_BYTES, "Bytes that one event's data may have.", least=1)
    max_request_bytes: int = _option(
        REQUEST_BYTES, "Bytes that the body of a request may have.", least=1
    )
    max_held_bytes: int = _option(
        HELD_BYTES,
        "Bytes of all large requests that may be held at once; more are turned away.",
        least=1,
    )
    max_id_bytes: int = _option(
        ID_BYTES, "Bytes that an event's id may have.", least=1, most=MOST_ID_BYTES
    )
    max_type_bytes: int = _option(TYPE_BYTES, "Bytes that an event's type may have.", least=1)
    max_subscriptions: int = _option(
        SUBSCRIPTIONS, "Subscriptions, and reads that wait, that may be open at once.", least=1
    )
    max_connections: int = _option(
        CONNECTIONS,
        "Connections that may be open at once; fewer, if the system allows fewer open files.",
        least=1,
    )
    idle_timeout: float = _option(
        IDLE_SECONDS,
        "Seconds that a connection may take until the head of its next request is there whole.",
        least=0.01,
    )
    body_timeout: float = _option(
        BODY_SECONDS,
        "Seconds that the body of a request may come slower than 100 bytes a second.",
        least=0.01,
    )
    heartbeat: float = _option(
        HEARTBEAT_SECONDS,
        "Seconds between the comments that keep idle subscriptions open.",
        least=0.001,
    )
    retry: int = _option(
        RETRY_MILLISECONDS, "Milliseconds that subscribers wait before they connect again.", least=0
    )
    max_consumers: int = _option(CONSUMERS, "Consumers that there may be at once.", least=0)
    consumer_workers: int = _option(
        CONSUMER_WORKERS, "Processes that fold for all consumers together.", least=1, most=64
    )
    consumer_seconds: float = _option(
        CONSUMER_SECONDS,
        "Seconds of a processor that a consumer's handler gets for one batch of events; one that "
        "needs more for a single event is stopped.",
        least=0.01,
        most=3600,
    )
    consumer_memory_bytes: int = _option(
        CONSUMER_MEMORY_BYTES, "Bytes of memory that a consumer's handler gets.", least=1024 * 1024
    )
    max_state_bytes: int = _option(
        STATE_BYTES, "Bytes that a consumer's state may have, as JSON.", least=2
    )
    max_handler_bytes: int = _option(
        HANDLER_BYTES, "Bytes that the text of a consumer's handler may have.", least=1
    )
    read_timeout: float = _option(
        READ_SECONDS,
        "Seconds that a read waits for events that are not there yet, or for a consumer.",
        least=0,
    )
    type_key: str = _option(TYPE_KEY, "Key of a payload that holds the event's type.")
    tags_key: str = _option(TAGS_KEY, "Key of a payload that holds the event's tags.")
    access_log: bool = _option(False, "Write one line of log for every request.")

    @cached_property
    def limits(self) -> Limits:
        """The limits of one event."""
        return Limits(self.max_event_bytes, self.max_id_bytes, self.max_type_bytes)

    @cached_property
    def keys(self) -> Keys:
        """Where in a payload the type and the tags are."""
        return Keys(self.type_key, self.tags_key)

    @cached_property
    def event_body(self) -> tuple[int, int]:
        """Bytes that the body of a single event may have, and the limit that a client is told.

        The line break behind the data does not count.
        """
        if self.max_event_bytes < self.max_request_bytes:
            return self.max_event_bytes + len("\r\n"), self.max_event_bytes
        return self.max_request_bytes, self.max_request_bytes


def fault_of(option: Field[Any], value: Any) -> str | None:
    """Why an option cannot have a value, or None if it can."""
    least, most = option.metadata["least"], option.metadata["most"]
    if least is not None and not value >= least:  # this way round, it catches a NaN too
        return f"{value} is too small: at least {least:g} is needed"
    if most is not None and not value <= most:
        return f"{value} is too large: at most {most:g} is possible"
    if option.name == "cors":
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                return f"{origin!r} is not an origin: write it as https://example.com, or *"
    return None
