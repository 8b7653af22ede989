"""Events that can be told apart, and whose bytes follow from a number: their *token*.

So a ledger need only hold tokens, and whoever gets an event can say whether each
byte of it is right.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]

LARGE_ONE_IN = 400
"""Of the tokens, those whose event is larger than what the hub holds of a group in memory."""

_WORDS = ("plain", "naïve", "日本", "\u2028", "\x1c", "\x85", "🦉", "'quoted'", "back\\slash", '"')
_TOKEN = re.compile(r'(?:"token":|token )(\d+)')


def pad_of(token: int) -> str:
    """Text of the length and with the characters of a token."""
    chance = random.Random(token)
    if token % LARGE_ONE_IN == 7:
        return f"{token}-" * 40_000
    return " ".join(chance.choices(_WORDS, k=chance.choice((0, 1, 3, 8, 40, 400))))


def payload_of(token: int, kind: str) -> bytes:
    """The payload of an event, as compact JSON."""
    return compact({"type": kind, "token": token, "pad": pad_of(token)})


def data_of(token: int, kind: str) -> str:
    """What is posted to a channel: a payload, or for some tokens text of several lines."""
    if token % 3:
        return payload_of(token, kind).decode()
    return f"token {token}\nwith\ttab, \n\nempty line and {pad_of(token)}"


def stored_of(token: int, kind: str, *, posted: bool) -> bytes:
    """The payload of the event's document, however it was written."""
    if posted and token % 3 == 0:
        return compact({"type": kind, "data": data_of(token, kind)})
    return payload_of(token, kind)


def token_in(text: str | bytes) -> int:
    """The token of an event, from any text that holds it whole."""
    if isinstance(text, bytes):
        text = text.decode()
    found = _TOKEN.search(text)
    return int(found[1]) if found else 0


def token_of(document: Document) -> int:
    """The token of a document of the hub."""
    payload = document["payload"]
    token: int | None = payload.get("token")
    return token if token is not None else token_in(payload["data"])


def compact(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


HANDLER = """(event, state) => {
  const token = event.token ?? Number(/token (\\d+)/.exec(event.data)[1]);
  return {count: state.count + 1, hash: (state.hash * 31 + token) % 1000003};
}"""
"""A consumer's: it tells in which order it got which events, and whether once."""

NOTHING = {"count": 0, "hash": 0}


def folded(tokens: Sequence[int]) -> list[dict[str, int]]:
    """The states of `HANDLER`, before the first event and after each."""
    states = [NOTHING]
    for count, token in enumerate(tokens, 1):
        states.append({"count": count, "hash": (states[-1]["hash"] * 31 + token) % 1000003})
    return states
