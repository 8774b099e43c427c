"""Parquet files, read batch by batch; needs the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partyd.data.blocks import BadRows, Columns
from partyd.data.formats import Format
from partyd.data.typed import TypedRows, Values
from partyd.errors import DataError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

MAGIC = b"PAR1"
BATCH_VALUES = 1 << 20


def open_parquet(
    path: Path, form: Format, bad: BadRows, max_columns: int, sid_prefix: str
) -> tuple[TypedRows, int, list[int]]:
    """Return a Parquet file's rows, how many there are, and a list whose one item counts those read."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f"{bad.where} is a Parquet file, and pyarrow is not installed here: pip install 'partyd[parquet]', "
            "or upload it as CSV"
        ) from error
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
        names = file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{bad.where} is no Parquet file that can be read: {_first_line(error)}") from error
    columns = Columns.find(names, form, bad.where, max_columns)
    done = [0]
    batches = _batches(file, columns, bad.where, done)
    return TypedRows(columns, batches, form, bad, sid_prefix), int(file.metadata.num_rows), done


def _batches(file: pq.ParquetFile, columns: Columns, where: str, done: list[int]) -> Iterator[list[Values]]:
    import pyarrow as pa

    size = max(1024, BATCH_VALUES // len(columns.names))
    numeric = set(columns.numeric)
    try:
        for batch in file.iter_batches(batch_size=size):
            done[0] += batch.num_rows
            yield [_values(batch.column(i), is_number=i in numeric) for i in range(len(columns.names))]
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where}, after row {done[0]}: {_first_line(error)}; write the file again") from error


def _values(column: Any, *, is_number: bool) -> Values:
    """Return a column's values: numbers as numbers, everything else as Python's own types."""
    import pyarrow as pa
    import pyarrow.types as kinds

    kind = column.type
    if is_number and (kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)):
        if kinds.is_boolean(kind):
            column = column.cast(pa.int8())
        found: Values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return found
    values: list[object] = column.to_pylist()
    return values


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:300]
