"""python httpx-sse.py URL: prints what PyPI `httpx-sse` gives us, as JSON lines.

It leaves it to its user to come back, with `Last-Event-ID`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import httpx
import httpx_sse


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def show(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main(url: str) -> None:
    last_id, retry = "", 2000
    with httpx.Client(timeout=30) as client:
        while True:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            try:
                with httpx_sse.connect_sse(client, "GET", url, headers=headers) as source:
                    source.response.raise_for_status()
                    show(open=True)
                    for each in source.iter_sse():
                        show(type=each.event, data=each.data, id=each.id)
                        last_id = each.id
                        retry = retry if each.retry is None else each.retry
            except httpx.TransportError as error:
                show(error=str(error))
            time.sleep(retry / 1000)


threading.Thread(target=end_with_parent, daemon=True).start()
main(sys.argv[1])
