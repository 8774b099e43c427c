"""Tables as CSV, as FATE's client reads them.

A table of scores has the features ``predict_score``, ``predict_result`` and last ``type`` (which rows: an index into
`ROW_TYPES`), and between them ``predict_detail:<class>`` for each class, unless the classes are 0 and 1. FATE's client
knows such a table by its column names, and reads the one before the last, ``predict_detail``, as a mapping in quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from partyd.data.table import Table

PREDICT_SCORE = "predict_score"
PREDICT_RESULT = "predict_result"
DETAIL = "predict_detail:"
TYPE = "type"
ROW_TYPES = ("train_set", "validate_set", "test_set")
SCORED_LABEL = "label"
"""What the label is called beside predictions, whatever the uploaded table calls it."""
CHUNK_ROWS = 1 << 12
EXACT = float(1 << 53)


def is_scored(table: Table) -> bool:
    """Return whether ``table`` holds predictions."""
    names = table.schema.features
    return names[:2] == (PREDICT_SCORE, PREDICT_RESULT) and names[-1] == TYPE


def csv_header(table: Table) -> str:
    """Return the first line of the table's CSV, with its line end."""
    schema, scored = table.schema, is_scored(table)
    names = [schema.sample_id]
    if table.match_ids is not None:
        names.append(schema.match_id or "match_id")
    if table.label is not None:
        names.append(SCORED_LABEL if scored else schema.label or SCORED_LABEL)
    if table.weight is not None:
        names.append(schema.weight or "weight")
    names += [PREDICT_SCORE, PREDICT_RESULT, "predict_detail", TYPE] if scored else schema.features
    return ",".join(quoted(name) for name in names) + "\n"


def csv_lines(table: Table) -> Iterator[str]:
    """Yield the table's CSV line by line, the header first; only a few thousand rows are in memory at a time."""
    yield csv_header(table)
    described = _scores(table) if is_scored(table) else _features
    for start in range(0, len(table), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        columns = [_texts(ids[rows]) for ids in (table.ids, table.match_ids) if ids is not None]
        numbers = [known[rows].tolist() for known in (table.label, table.weight) if known is not None]
        columns += [[number(value) for value in values] for values in numbers]
        if table.schema.features:
            columns.append(described(np.asarray(table.features[rows], dtype=np.float64)))
        for cells in zip(*columns, strict=True):
            yield ",".join(cells) + "\n"


def number(value: float) -> str:
    """Return a number as text: a whole one without a point, a missing one empty; every one reads back the same."""
    if value != value:
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < EXACT else repr(value)


def quoted(text: str) -> str:
    """Return a cell, in quotes where CSV needs them."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def _texts(ids: NDArray[np.bytes_]) -> list[str]:
    return [quoted(i.decode("utf-8", "replace")) for i in ids.tolist()]


def _features(values: NDArray[np.float64]) -> list[str]:
    if not bool(np.any(np.isnan(values))):
        return [",".join(map(repr, row)) for row in values.tolist()]
    return [",".join(["" if v != v else repr(v) for v in row]) for row in values.tolist()]


def _scores(table: Table) -> Callable[[NDArray[np.float64]], list[str]]:
    """Return what writes the four columns of predictions."""
    classes = [name.removeprefix(DETAIL) for name in table.schema.features[2:-1]]

    def lines(values: NDArray[np.float64]) -> list[str]:
        return [_scored(row, classes) for row in values.tolist()]

    return lines


def _scored(row: Sequence[float], classes: Sequence[str]) -> str:
    score, result, *details, kind = row
    named = zip(classes, details, strict=True) if classes else (("0", 1 - score), ("1", score))
    mapping = ", ".join([f"'{name}': {value!r}" for name, value in named])
    return f'{score!r},{number(result)},"{{{mapping}}}",{ROW_TYPES[int(kind)]}'
