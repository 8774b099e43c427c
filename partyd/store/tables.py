"""The tables' columns (``schema_1.sql`` creates them) and the sum that guards every row.

SQLite checks its structure, not its content: a flipped bit inside a value is a valid value. So every row carries
``sum``, eight bytes of BLAKE2b over the table's name and all its columns, checked whenever a row is read. The audit log
carries its hash chain instead. STRICT tables keep a flipped type from passing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import apsw
import msgpack

from partyd.errors import StoreCorrupt
from partyd.store import faults

Value = None | int | float | str | bytes
MESSAGE = ("job", "task", "attempt", "scope", "kind", "source", "destination")
BODY = ("body", "blob", "size", "sha256")


def row_sum(table: str, values: Sequence[Value]) -> int:
    """Return the sum that stands beside ``values`` in ``table``."""
    packed: bytes = msgpack.packb((table, *values))
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "big", signed=True)


def _row_sum_in_sql(*arguments: Value) -> int:
    table, *values = arguments
    return row_sum(str(table), values)


def register(connection: apsw.Connection) -> None:
    """Give ``connection`` the SQL function ``row_sum(table, columns...)`` that updates need."""
    connection.create_scalar_function("row_sum", _row_sum_in_sql, deterministic=True)


@dataclass(frozen=True)
class Table:
    """A table's name, its summed columns and which of them are its key."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @cache  # noqa: B019  (tables are module constants)
    def insert(self) -> str:
        """Return SQL that adds a row: its columns, then its sum."""
        marks = ", ".join("?" * (len(self.columns) + 1))
        return f"INSERT INTO {self.name}({', '.join(self.columns)}, sum) VALUES ({marks})"  # noqa: S608

    @cache  # noqa: B019
    def select(self, rest: str) -> str:
        """Return SQL for whole rows with their sums; ``rest`` begins with WHERE or ORDER BY."""
        return f"SELECT {', '.join(self.columns)}, sum FROM {self.name} {rest}"  # noqa: S608

    @cache  # noqa: B019
    def update(self, changed: tuple[str, ...], where: str = "") -> str:
        """Return SQL that sets the ``changed`` columns to bindings of the same names and renews the sum."""
        sets = ", ".join(f"{name} = :{name}" for name in changed)
        summed = ", ".join(f":{name}" if name in changed else name for name in self.columns)
        chosen = where or " AND ".join(f"{name} = :{name}" for name in self.key)
        return f"UPDATE {self.name} SET {sets}, sum = row_sum('{self.name}', {summed}) WHERE {chosen}"  # noqa: S608

    def by_key(self) -> str:
        """Return the WHERE clause that names one row by positional bindings."""
        return "WHERE " + " AND ".join(f"{name} = ?" for name in self.key)

    def summed(self, values: Sequence[Value]) -> tuple[Value, ...]:
        """Return the bindings of ``insert``."""
        return (*values, row_sum(self.name, values))


class Row:
    """One checked row; each getter insists on its type, as a damaged store may hold another."""

    __slots__ = ("_table", "_values")

    def __init__(self, table: Table, values: Sequence[Value]) -> None:
        self._table = table
        self._values = values
        if row_sum(table.name, values[:-1]) != values[-1]:
            raise self._broken("its sum does not match")

    def _get(self, name: str) -> Value:
        return self._values[self._table.columns.index(name)]

    def _broken(self, why: str) -> StoreCorrupt:
        key = "/".join(str(self._get(name))[:80] for name in self._table.key)
        return StoreCorrupt(f"row {key} of table {self._table.name} is damaged: {why}; {faults.RESTORE}")

    def text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str):
            raise self._broken(f"{name} is no text")
        return value

    def integer(self, name: str) -> int:
        value = self._get(name)
        if not isinstance(value, int):
            raise self._broken(f"{name} is no integer")
        return value

    def real(self, name: str) -> float:
        value = self._get(name)
        if not isinstance(value, float):
            raise self._broken(f"{name} is no number")
        return value

    def data(self, name: str) -> bytes:
        value = self._get(name)
        if not isinstance(value, bytes):
            raise self._broken(f"{name} is no bytes")
        return value

    def has(self, name: str) -> bool:
        return self._get(name) is not None


META = Table("meta", ("name", "value"), ("name",))
COUNTERS = Table("counters", ("name", "value"), ("name",))
OUTBOX = Table("outbox", (*MESSAGE, "seq", "header", *BODY, "acknowledged", "tries", "created_at"), MESSAGE)
INBOX = Table("inbox", (*MESSAGE, *BODY, "consumed", "received_at"), MESSAGE)
ATTEMPTS = Table("attempts", ("job", "task", "attempt", "seed", "pin", "started_at"), ("job", "task", "attempt"))
CHECKPOINTS = Table(
    "checkpoints", ("job", "task", "attempt", "round", "scope", *BODY, "saved_at"), ("job", "task", "attempt")
)
JOBS = Table("jobs", ("job", "status", "document", "created_at", "updated_at"), ("job",))
TASKS = Table("tasks", ("job", "task", "status", "document", "created_at", "updated_at"), ("job", "task"))
PEERS = Table("peers", ("local", "address", "fingerprint", "card", "revoked", "added_at"), ("local", "address"))
SEEN = Table("seen", ("local", "address", "epoch", "store_id", "boot_id"), ("local", "address"))
DOCUMENTS = Table("documents", ("collection", "key", *BODY, "updated_at"), ("collection", "key"))
DOCUMENT_BLOBS = Table("document_blobs", ("collection", "key", "blob", "size"), ("collection", "key", "blob"))
EVENTS = Table("events", ("seq", "at", "kind", "job", "detail", "previous", "hash"), ("seq",))

SUMMED: tuple[Table, ...] = (
    META,
    COUNTERS,
    OUTBOX,
    INBOX,
    ATTEMPTS,
    CHECKPOINTS,
    JOBS,
    TASKS,
    PEERS,
    SEEN,
    DOCUMENTS,
    DOCUMENT_BLOBS,
)
WITH_BLOBS: tuple[Table, ...] = tuple(table for table in SUMMED if "blob" in table.columns)


def blob_references(connection: apsw.Connection) -> Iterable[tuple[str, int]]:
    """Yield (digest, size) of every blob that a row refers to."""
    parts = (f"SELECT blob, size FROM {table.name} WHERE blob IS NOT NULL" for table in WITH_BLOBS)  # noqa: S608
    union = " UNION ".join(parts)
    for blob, size in connection.execute(union):
        yield str(blob), int(size)
