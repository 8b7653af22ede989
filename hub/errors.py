"""Every error that the hub raises on purpose.

Owns the tree below and each error's stable `code`. It must not know HTTP: the
status that belongs to a class is given in `hub.web.errors`.

    HubError
    ├── InvalidRequest         the request makes no sense: a bad parameter
    │   ├── InvalidName        not a name that a channel can have
    │   ├── UnknownEncoding    the body is compressed in a way that the hub does not know
    │   └── InvalidHandler     a consumer's handler is no function that the sandbox takes
    ├── InvalidEvent           the event cannot be kept as it is
    │   └── UnknownId          a read begins or ends at an id that no event has
    ├── UnknownStream          there is no stream of this name
    ├── UnknownConsumer        there is no consumer of this identifier
    ├── TooManyConsumers       there are as many consumers as there may be
    ├── SandboxFailed          the process that folds cannot be started
    ├── Conflict               what the request needs to be so is not so (any more)
    │   ├── VersionConflict    the stream does not have the expected version
    │   ├── ConditionConflict  an event came that the condition rules out
    │   ├── NameTaken          something else has this name
    │   ├── StreamClosed       the stream takes no events any more
    │   └── FormatConflict     the log's format cannot hold this, or is another
    ├── TimedOut               what was waited for did not come
    ├── TooLarge               a limit on size was passed
    ├── Forbidden              a write from a web page of another origin
    ├── Busy                   the hub holds as much of requests, or as many, as it may
    ├── Closing                the hub is shutting down
    ├── LogUnavailable         the log cannot be written, or read, just now
    │   ├── ReadFailed         its file could not be read
    │   ├── DiskFull           no space is left; nothing was stored
    │   ├── WriteFailed        the write or its sync failed; nothing was stored
    │   ├── LogDamaged         the file holds something that is not an event
    │   └── IndexFailed        the index cannot be written: no position can be told
    └── StartupError           the hub cannot start
        └── DirectoryLocked    another hub has the events directory open
"""

from __future__ import annotations


class HubError(Exception):
    """Root of all errors of the hub; `str(error)` is a sentence for a person."""

    code = "error"
    status: int | None = None
    """Only on a client: the HTTP status of the answer that told it the error."""
    stored: int = 0
    """Only on a client that publishes many: the events that were stored before."""


class InvalidRequest(HubError):
    """A parameter or a combination of them is wrong."""

    code = "invalid_request"


class InvalidName(InvalidRequest):
    """The name in the URL is not one that a channel can have."""

    code = "invalid_name"


class UnknownEncoding(InvalidRequest):
    """The body's Content-Encoding is not one that the hub can undo."""

    code = "unknown_encoding"


class InvalidHandler(InvalidRequest):
    """The handler of a consumer is no JavaScript function, or breaks as soon as it is read."""

    code = "invalid_handler"


class InvalidEvent(HubError):
    """The event cannot be kept without changing it."""

    code = "invalid_event"

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason, line)
        self.reason = reason
        self.line = line  # counted from 1, in a batch

    def __str__(self) -> str:
        return self.reason if self.line is None else f"line {self.line}: {self.reason}"


class UnknownId(InvalidEvent):
    """No event of the log has this id, and it does not read as a time."""

    code = "unknown_id"


class UnknownStream(HubError):
    """No log and no derived stream has this name."""

    code = "unknown_stream"


class UnknownConsumer(HubError):
    """No consumer has this identifier."""

    code = "unknown_consumer"


class TooManyConsumers(HubError):
    """There are as many consumers as the option allows."""

    code = "too_many_consumers"


class SandboxFailed(HubError):
    """The process that runs handlers could not be started; no handler is to blame."""

    code = "sandbox_failed"


class Conflict(HubError):
    """The state of things is not what the request needs; `details` say what it is."""

    code = "conflict"

    def __init__(self, reason: str, **details: object) -> None:
        super().__init__(reason)
        self.details = details


class VersionConflict(Conflict):
    """The stream has not, or no longer, the version that the commit expects."""

    code = "version_conflict"


class ConditionConflict(Conflict):
    """An event came that the commit's condition rules out."""

    code = "condition_conflict"


class NameTaken(Conflict):
    """A log or another derived stream has this name."""

    code = "name_taken"


class StreamClosed(Conflict):
    """The stream is sealed: it can be read, but takes no events."""

    code = "stream_closed"


class FormatConflict(Conflict):
    """The format of the log, which it has for life, does not fit."""

    code = "format_conflict"


class TimedOut(HubError):
    """What the request waits for did not come in time."""

    code = "timed_out"


class TooLarge(HubError):
    """A size passed its limit; the message names both."""

    code = "too_large"


class Forbidden(HubError):
    """A browser page of an origin that is not allowed tried to write, or to read under its name."""

    code = "forbidden_origin"


class Busy(HubError):
    """The bodies of the requests under way take all their memory, or as many wait as may."""

    code = "busy"


class Closing(HubError):
    """The hub is shutting down and takes no more writes."""

    code = "closing"


class LogUnavailable(HubError):
    """The log cannot be used just now. Nothing of the request was stored."""

    code = "log_unavailable"


class ReadFailed(LogUnavailable):
    """The operating system refused to open or read the file."""

    code = "read_failed"


class DiskFull(LogUnavailable):
    """The disk, or the quota on it, is full. Nothing of the batch was stored."""

    code = "disk_full"


class WriteFailed(LogUnavailable):
    """The operating system refused a write or a sync. Nothing was acknowledged."""

    code = "write_failed"


class LogDamaged(LogUnavailable):
    """The file holds something that is not an event, away from its torn tail."""

    code = "log_damaged"


class IndexFailed(LogUnavailable):
    """The index could not be read or written. What was stored is in the logs all the same."""

    code = "index_failed"


class StartupError(HubError):
    """The hub cannot start; the message says what to change."""

    code = "startup"


class DirectoryLocked(StartupError):
    """Another process holds the lock of the events directory."""

    code = "directory_locked"
