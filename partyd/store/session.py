"""What every part of a transaction shares: statements, checked rows, bodies and counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import apsw

from partyd.errors import StoreCorrupt
from partyd.federation.rows import BlobRef, Body
from partyd.store import faults
from partyd.store.blobs import Blobs
from partyd.store.tables import COUNTERS, MESSAGE, META, Row, Table, Value
from partyd.types import Address, MessageId

Bindings = Sequence[Value] | Mapping[str, Value]


class Session:
    """One transaction's view; made by the store, valid until the transaction ends."""

    def __init__(self, connection: apsw.Connection, blobs: Blobs, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._blobs = blobs
        self._clock = clock

    def read_body(self, body: Body) -> bytes:
        """Return a body whole, its digest checked if it is a blob."""
        return self._blobs.read(body)

    def counter(self, name: str) -> int:
        """Return a persistent counter, 0 before it was first set."""
        row = self._row(COUNTERS, (name,))
        return row.integer("value") if row else 0

    def meta(self, name: str) -> bytes | None:
        """Return one of the store's own settings."""
        row = self._row(META, (name,))
        return row.data("value") if row else None

    def _execute(self, statement: str, bindings: Bindings = ()) -> list[tuple[Value, ...]]:
        try:
            return list(self._connection.execute(statement, bindings))
        except UnicodeDecodeError as error:
            raise StoreCorrupt(f"a text in the store is damaged ({error.reason}); {faults.RESTORE}") from error

    def _rows(self, table: Table, rest: str, bindings: Bindings = ()) -> list[Row]:
        return [Row(table, values) for values in self._execute(table.select(rest), bindings)]

    def _row(self, table: Table, key: Sequence[Value]) -> Row | None:
        rows = self._rows(table, table.by_key(), key)
        return rows[0] if rows else None

    def _number(self, statement: str, bindings: Bindings = ()) -> int:
        value = self._execute(statement, bindings)[0][0]
        return value if isinstance(value, int) else 0

    def _body(self, row: Row) -> Body:
        if row.has("blob"):
            return BlobRef(row.text("blob"), row.integer("size"))
        return row.data("body")


class WritingSession(Session):
    """A session that may change things."""

    wipes_log = False
    """Set when secrets were erased, so that the log that still holds them is truncated after the commit."""

    def set_counter(self, name: str, value: int) -> None:
        """Set a persistent counter."""
        self._replace(COUNTERS, {"name": name, "value": value})

    def set_meta(self, name: str, value: bytes) -> None:
        """Set one of the store's own settings."""
        self._replace(META, {"name": name, "value": value})

    def _insert(self, table: Table, values: Sequence[Value]) -> None:
        self._execute(table.insert(), table.summed(values))

    def _update(self, table: Table, changes: Mapping[str, Value], key: Mapping[str, Value], where: str = "") -> int:
        """Change columns of the row(s) that ``key`` names, and return how many rows there were."""
        self._execute(table.update(tuple(changes), where), {**key, **changes})
        return self._connection.changes()

    def _replace(self, table: Table, values: Mapping[str, Value]) -> None:
        """Update the row with these key columns, or insert it; ``values`` names all columns of the table."""
        key = {name: values[name] for name in table.key}
        rest = {name: value for name, value in values.items() if name not in table.key}
        if not self._update(table, rest, key):
            self._insert(table, [values[name] for name in table.columns])


def message_key(message: MessageId) -> tuple[str | int, ...]:
    """Return a message's identity as its columns hold it."""
    return (*message[:5], str(message.source), str(message.destination))


def message_where(message: MessageId) -> dict[str, Value]:
    """Return a message's identity as named bindings."""
    return dict(zip(MESSAGE, message_key(message), strict=True))


def message_of(row: Row) -> MessageId:
    """Read a message's identity back."""
    return MessageId(
        row.text("job"),
        row.text("task"),
        row.integer("attempt"),
        row.text("scope"),
        row.text("kind"),
        Address.parse(row.text("source")),
        Address.parse(row.text("destination")),
    )
