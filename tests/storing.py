"""A client of a hub process as an event store: one request after the other, nothing hidden."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from tests.process import PATIENCE, HubProcess

Document = dict[str, Any]


class Told(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def documents(self) -> list[Document]:
        """The documents of a read, which must have gone well."""
        assert self.status == 200, self
        lines = self.body.split(b"\n")
        assert lines.pop() == b""
        return [json.loads(line) for line in lines]


class Storing:
    """One connection to a hub, made again when the hub was gone."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub
        self._connection: HTTPConnection | None = None

    def ask(
        self, method: str, path: str, body: Any = None, content_type: str = "", **query: str
    ) -> Told:
        """Send a request. Raises `OSError` or `HTTPException` if the hub goes meanwhile."""
        if query:
            path += f"?{urlencode(query)}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"Content-Type": content_type} if content_type else {}
        connection = self._connection
        if connection is None:
            connection = HTTPConnection("127.0.0.1", self._hub.port, timeout=PATIENCE)
        self._connection = None
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            told = Told(
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )
        except (OSError, HTTPException):
            connection.close()
            raise
        self._connection = connection
        return told

    def commit(self, stream: str, *events: Document, **rest: Any) -> Told:
        """Commit events."""
        body = {"events": list(events), **rest}
        return self.ask("POST", f"/streams/{quote(stream, safe='')}/commit", body)

    def read(self, path: str, **query: str) -> list[Document]:
        """What a read gets."""
        return self.ask("GET", f"/streams/{path}", **query).documents

    def close(self) -> None:
        """Leave; what is asked later makes a new connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
