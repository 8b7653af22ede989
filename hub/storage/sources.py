"""What readers of the global order need of the store, and which documents they mean.

Owns how a document tells by itself whether it is in a scope. Must not know the index.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from hub.document import Keys, labels_reader
from hub.matcher import Matcher
from hub.selector import Kind, Selector
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.plan import Scope


class Sources(Struct):
    """The logs, and what streams are derived from them."""

    disk: Disk
    path: Callable[[Log], str]
    find: Callable[[str], Log | None]
    numbered: Callable[[int], Log]
    derived: Callable[[str], Matcher | None]
    keys: Keys


def seer(scope: Scope, sources: Sources) -> Callable[[str, bytes], bool]:
    """Whether a document of a log is in a scope, told from itself."""
    selector, matcher = scope.selector, scope.matcher
    labels = labels_reader(sources.keys)
    named = _derived_in(selector, sources) if selector else {}
    only = None if scope.streams is None else frozenset(scope.streams)
    views = [each for name in scope.streams or () if (each := sources.derived(name))]

    def sees(stream: str, document: bytes) -> bool:
        if only is not None and stream not in only:  # noqa: SIM102 - the usual case first
            if not any(each.matches_document(document) for each in views):
                return False
        if selector is not None:
            own = labels(document)
            holders = [name for name, each in named.items() if each.matches_document(document)]
            if not selector.matches(stream, own.type, own.tags, holders):
                return False
        return matcher is None or matcher.matches_document(document)

    return sees


def _derived_in(selector: Selector, sources: Sources) -> dict[str, Matcher]:
    """The derived streams that a selector names."""
    return {
        term.name: matcher
        for term in selector.terms()
        if term.kind is Kind.NAME and (matcher := sources.derived(term.name))
    }
