"""Matchers: what an event must look like, written as JSON.

    {"stream": …, "payload": …, "metadata": …}

Each key is optional; all that are given must hold. A value says what the field
in its place must be:

- a string, number, boolean or null: equal to it. Types are told apart (`true` is
  not 1, `"1"` is not 1), but 1 equals 1.0, and integers are exact at any size;
- an object: an object whose fields match key by key; it may have others too;
- an array: any of its members, which are scalars or objects;
- an object of operators, all of which must hold: `$eq`, `$ne` (any JSON value,
  compared whole), `$gt`, `$gte`, `$lt`, `$lte` (a number or a string; strings by
  code point; nothing compares with another type), `$has` (the field is an array
  with this member), `$hasAny` (an array with one of these).

A field that is not there matches nothing, neither null nor `$ne`. What cannot
be meant is refused, never taken for something that does not match: unknown
operators and keys, operators beside plain keys, empty arrays. An operator's
value is taken literally, so `{"$eq": {"$x": 1}}` reaches keys that begin with $.

Owns these rules, one module for each step: `rules` checks what a client sent, `predicate` makes
tests of it, `reader` decodes documents as far as they need, `compiled` is what the others use.
It must not know where documents come from.
"""

from hub.matcher.compiled import Matcher, compile_matcher, parse_matcher

__all__ = ["Matcher", "compile_matcher", "parse_matcher"]
