"""The tables of the index, in SQLite.

Owns their columns, and the number that changes with them, or with what stands
in them: an index of another version is made anew.
"""

VERSION = 6

DAMAGED = -1
"""As the modification time of a log: it was damaged when the index came to know it."""

SCHEMA = """
CREATE TABLE logs (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    length INTEGER NOT NULL,   -- bytes that hold whole, sound events
    modified INTEGER NOT NULL, -- the file's modification time, nanoseconds
    version INTEGER NOT NULL,  -- events
    last_id TEXT NOT NULL,
    clock INTEGER NOT NULL,    -- highest time of the hub's own ids, microseconds
    ordered INTEGER NOT NULL,  -- whether ids are times that never go back
    checksum INTEGER NOT NULL, -- of all these
    UNIQUE (name, format)
);
CREATE TABLE runs (
    position INTEGER PRIMARY KEY, -- of its first event
    log INTEGER NOT NULL,
    revision INTEGER NOT NULL,    -- of its first event
    offset INTEGER NOT NULL,      -- bytes
    count INTEGER NOT NULL,       -- events
    size INTEGER NOT NULL,        -- bytes
    checksum INTEGER NOT NULL,    -- CRC-32 of the bytes
    terms INTEGER NOT NULL,       -- the sum of its postings
    control INTEGER NOT NULL      -- the sum of all these: see `soundness`, also for those below
);
CREATE UNIQUE INDEX runs_by_revision ON runs (log, revision);
CREATE INDEX runs_by_log ON runs (log); -- and position, as in every index of this table
CREATE TABLE postings (
    term INTEGER NOT NULL,
    position INTEGER NOT NULL,    -- of the run
    PRIMARY KEY (term, position)
) WITHOUT ROWID;
CREATE TABLE given (
    position INTEGER NOT NULL,    -- the highest of events that are gone: never to be given again
    control INTEGER NOT NULL
);
INSERT INTO given VALUES (0, 0);
CREATE TABLE labelled (
    keys TEXT NOT NULL,           -- of payloads, by which the terms were found
    again TEXT NOT NULL           -- the same, so that damage shows
);
INSERT INTO labelled VALUES ('', '');
CREATE TABLE derived (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    matcher TEXT NOT NULL,
    version INTEGER NOT NULL,     -- events in it
    looked INTEGER NOT NULL,      -- position up to which events were looked at
    total INTEGER NOT NULL,       -- of the positions of its events
    control INTEGER NOT NULL,
    again TEXT NOT NULL           -- the matcher, so that damage shows
);
CREATE TABLE members (
    derived INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (derived, revision)
) WITHOUT ROWID;
"""
