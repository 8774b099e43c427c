-- Schema version 1. A released version is never edited: the next one is a file of its own, with the statements that lead to it.
-- Every row carries sum, which guards all its columns (tables.py); the audit log carries its hash chain instead.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL,
    sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,
    job TEXT NOT NULL,
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    scope TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    destination TEXT NOT NULL,
    seq INTEGER NOT NULL,
    header BLOB NOT NULL,
    body BLOB,
    blob TEXT,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    acknowledged INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    created_at REAL NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX outbox_message ON outbox(job, task, attempt, scope, kind, source, destination);

CREATE INDEX outbox_pending ON outbox(destination, seq, size, created_at) WHERE acknowledged = 0;

CREATE TABLE inbox (
    number INTEGER PRIMARY KEY,
    job TEXT NOT NULL,
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    scope TEXT NOT NULL,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    destination TEXT NOT NULL,
    body BLOB,
    blob TEXT,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    consumed INTEGER NOT NULL,
    received_at REAL NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX inbox_message ON inbox(job, task, attempt, scope, kind, source, destination);

CREATE INDEX inbox_waiting ON inbox(source, size) WHERE consumed = 0;

CREATE INDEX inbox_control ON inbox(number) WHERE consumed = 0 AND task = '';

CREATE TABLE attempts (
    job TEXT NOT NULL,
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    seed BLOB NOT NULL,
    pin BLOB NOT NULL,
    started_at REAL NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY(job, task, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    job TEXT NOT NULL,
    task TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    round INTEGER NOT NULL,
    scope TEXT NOT NULL,
    body BLOB,
    blob TEXT,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    saved_at REAL NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY(job, task, attempt),
    FOREIGN KEY(job, task, attempt) REFERENCES attempts(job, task, attempt)
) STRICT;

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    job TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    document BLOB NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE INDEX jobs_status ON jobs(status, number);

CREATE TABLE tasks (
    number INTEGER PRIMARY KEY,
    job TEXT NOT NULL REFERENCES jobs(job),
    task TEXT NOT NULL,
    status TEXT NOT NULL,
    document BLOB NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    sum INTEGER NOT NULL,
    UNIQUE(job, task)
) STRICT;

CREATE TABLE peers (
    local TEXT NOT NULL,
    address TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    card BLOB NOT NULL,
    revoked INTEGER NOT NULL,
    added_at REAL NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY(local, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE seen (
    local TEXT NOT NULL,
    address TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    store_id BLOB,
    boot_id BLOB,
    sum INTEGER NOT NULL,
    PRIMARY KEY(local, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    body BLOB,
    blob TEXT,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    updated_at REAL NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY(collection, key)
) STRICT;

CREATE TABLE document_blobs (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY(collection, key, blob),
    FOREIGN KEY(collection, key) REFERENCES documents(collection, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    job TEXT NOT NULL,
    detail BLOB NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;

CREATE INDEX events_job ON events(job, seq) WHERE job <> '';

CREATE TRIGGER events_unchanged BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER events_kept BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
