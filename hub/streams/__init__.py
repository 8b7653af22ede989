"""Streams: logs, and views over logs, as sequences of numbered documents.

`views` reads them, `waiting` tells when there is more, `service` finds, commits
and defines them. Must not know HTTP.
"""

from hub.streams.service import ALL, StreamInfo, Streams
from hub.streams.views import View

__all__ = ["ALL", "StreamInfo", "Streams", "View"]
