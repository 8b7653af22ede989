"""Every option of the hub, its default and its meaning, in one frozen class.

`hub.cli` makes a flag and an environment variable of each; nothing else holds
a default. It belongs to the core: every layer may read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hub.event import EVENT_BYTES, ID_BYTES, TYPE_BYTES, Limits

REQUEST_BYTES = 64 * 1024 * 1024
SUBSCRIPTIONS = 10_000
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 2000
SYNC_SECONDS = 0.1


class Durability(StrEnum):
    """What an acknowledgement promises."""

    ALWAYS = "always"  # on disk
    INTERVAL = "interval"  # handed to the system; on disk within the sync interval
    OS = "os"  # handed to the system


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Options:
    """The hub's settings. `metadata["help"]` of each field explains it to a person."""

    host: str = _option("127.0.0.1", "Address to listen on; 0.0.0.0 for every network.")
    port: int = _option(9000, "Port to listen on; 0 for any free one.")
    events: Path = _option(Path("events"), "Directory of the event files; made if missing.")
    durability: Durability = _option(
        Durability.ALWAYS,
        "What an answer to a write promises: 'always', it is on disk; 'interval', it is handed "
        "to the system and on disk after the sync interval; 'os', it is handed to the system.",
    )
    sync_interval: float = _option(
        SYNC_SECONDS, "Seconds between syncs with --durability interval."
    )
    cors: tuple[str, ...] = _option(
        (),
        "Origin whose pages may read and write, as https://example.com, or * for every one. "
        "Can be given several times; in the environment, separate them by spaces.",
    )
    max_event_bytes: int = _option(EVENT_BYTES, "Bytes that one event's data may have.")
    max_request_bytes: int = _option(REQUEST_BYTES, "Bytes that the body of a request may have.")
    max_id_bytes: int = _option(ID_BYTES, "Bytes that an event's id may have.")
    max_type_bytes: int = _option(TYPE_BYTES, "Bytes that an event's type may have.")
    max_subscriptions: int = _option(SUBSCRIPTIONS, "Subscriptions that may be open at once.")
    heartbeat: float = _option(
        HEARTBEAT_SECONDS, "Seconds between the comments that keep idle subscriptions open."
    )
    retry: int = _option(
        RETRY_MILLISECONDS, "Milliseconds that subscribers wait before they connect again."
    )
    access_log: bool = _option(False, "Write one line of log for every request.")

    @property
    def limits(self) -> Limits:
        """The limits of one event."""
        return Limits(self.max_event_bytes, self.max_id_bytes, self.max_type_bytes)
