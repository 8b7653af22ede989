"""Selectors: which events of the global order are meant; conditions on them.

A selector is a JSON string or array: `"a"`, `["a", "b", ["C", "D"]]`. The outermost
array is an OR, the arrays in it are ANDs, those in them ORs again, and so on. A
string is a name: it selects the events of the stream, of the type, or of the
derived stream of this name, and `tags/{tag}` also those that have the tag; `_all`
selects every event.

A query (`types=`, `query=`) selects by types and tags only. It has a plain form too,
which goes out in `x-event-store-query-condition` and comes back as a condition of a
commit. There names are told apart no longer, so that the condition selects what the
query did and perhaps more, never less.

Owns these rules: `tree` is what a selector is, `parsing` makes it of names, selectors and
queries, `condition` goes out and comes back. It must not know how events are found: who
does, walks the tree of `AnyOf`, `AllOf`, `Term` and `Everything`.
"""

from hub.selector.condition import Condition, parse_condition
from hub.selector.parsing import (
    join_of,
    parse_selector,
    parse_selector_text,
    query_of_items,
    query_of_types,
)
from hub.selector.tree import EVERYTHING, AllOf, AnyOf, Everything, Kind, Node, Selector, Term

__all__ = [
    "EVERYTHING",
    "AllOf",
    "AnyOf",
    "Condition",
    "Everything",
    "Kind",
    "Node",
    "Selector",
    "Term",
    "join_of",
    "parse_condition",
    "parse_selector",
    "parse_selector_text",
    "query_of_items",
    "query_of_types",
]
