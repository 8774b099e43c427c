"""Sparse text as dense tables: svmlight (``label index:value ...``), tags (``id,tag,tag``) and tags with values.

The file is read twice: once for the columns there are, which are bounded, once for the rows. What a line does not
mention is 0; a tag without a value is 1. Features are named after their index (``x7``) or their tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partyd.data.blocks import BadRows, Block, Columns, Numbers, made_ids
from partyd.data.formats import Format
from partyd.data.ids import read_id
from partyd.data.text import TextBlocks
from partyd.errors import DataError

ROWS_BYTES = 32 << 20
MAX_INDEX = 1 << 40


@dataclass(frozen=True)
class _Line:
    """One line's parts: id (empty: the number of the row), label and the texts of its features."""

    sample: bytes
    label: bytes | None
    pairs: list[tuple[bytes, bytes]]


class SparseRows:
    """The rows of a sparse file; ``text`` is what they are read from, and to be closed."""

    def __init__(self, path: Path, form: Format, bad: BadRows, max_columns: int, sid_prefix: str) -> None:
        self._path = path
        self._form = form
        self._bad = bad
        self._prefix = sid_prefix
        self._numbers = Numbers(form)
        self._parse = self._svmlight if form.input_format == "svmlight" else self._tags
        keys = self._survey(max_columns)
        self._place = {key: i for i, key in enumerate(keys)}
        self._columns = self._find(keys)
        self.text = TextBlocks(path, form, bad.where)

    @property
    def columns(self) -> Columns:
        """What each column holds."""
        return self._columns

    def blocks(self) -> Iterator[Block]:
        """Yield the rows."""
        limit = max(1, min(65_536, ROWS_BYTES // (8 * max(1, len(self._place)))))
        rows: list[tuple[int, bytes, float, dict[int, float]]] = []
        made = 0
        for number, line in _lines(self.text, self._form):
            try:
                rows.append((number, *self._read(self._parse(line))))
            except ValueError as error:
                self._bad.add(number, str(error))
                continue
            if len(rows) == limit:
                yield self._block(rows, made)
                made += len(rows)
                rows = []
        if rows:
            yield self._block(rows, made)

    def _survey(self, max_columns: int) -> list[bytes]:
        """Return every feature there is; lines that cannot be read are named in the second reading."""
        found: set[bytes] = set()
        self._has_id = self._has_label = False
        text = TextBlocks(self._path, self._form, self._bad.where)
        try:
            for number, line in _lines(text, self._form):
                try:
                    parsed = self._parse(line)
                except ValueError:
                    continue
                self._has_id |= bool(parsed.sample)
                self._has_label |= parsed.label is not None
                found.update(key for key, _ in parsed.pairs)
                if len(found) > max_columns:
                    raise DataError(
                        f"{self._bad.where} has more than {max_columns} features by line {number}; "
                        "raise data.max_columns or leave some out"
                    )
        finally:
            text.close()
        by_index: Callable[[bytes], tuple[int, bytes]] = lambda key: (int(key), b"")  # noqa: E731
        by_tag: Callable[[bytes], tuple[int, bytes]] = lambda key: (0, key)  # noqa: E731
        return sorted(found, key=by_index if self._form.input_format == "svmlight" else by_tag)

    def _find(self, keys: list[bytes]) -> Columns:
        prefix = "x" if self._form.input_format == "svmlight" else ""
        form = self._form
        if form.match_id_range > 1 or len(form.match_id_list) > 1:
            raise DataError(f"{self._bad.where}: a line of sparse text has one id; name no more than one")
        features = [prefix + key.decode() for key in keys]
        names = [form.sample_id or "id", *([form.label or "y"] if self._has_label else []), *features]
        if len(set(names)) != len(names):
            raise DataError(f"{self._bad.where}: a feature is called as the id or the label; name those otherwise")
        first = 1 + self._has_label
        return Columns(
            names=tuple(names),
            sample_id=None if form.extend_sid else 0,
            match_ids=(0,) if form.extend_sid and self._has_id else (),
            label=1 if self._has_label else None,
            weight=None,
            features=tuple(range(first, len(names))),
        )

    def _svmlight(self, line: bytes) -> _Line:
        fields = line.split(b"#", 1)[0].split()
        plain = 0
        while plain < len(fields) and b":" not in fields[plain]:
            plain += 1
        if plain > 2:
            raise ValueError("more than an id and a label stand before the features")
        pairs = [_pair(field, b":") for field in fields[plain:] if not field.startswith(b"qid:")]
        for index, _ in pairs:
            if not index.isdigit() or int(index) > MAX_INDEX:
                raise ValueError(f"{index[:40].decode('utf-8', 'replace')!r} is no index of a feature")
        pairs = [(b"%d" % int(index), value) for index, value in pairs]
        wants_id = self._form.sample_id is not None or self._form.match_id is not None
        head = fields[:plain]
        if plain == 2:
            return _Line(head[0], head[1], pairs)
        if plain == 1 and wants_id and self._form.label is None:
            return _Line(head[0], None, pairs)
        return _Line(b"", head[0] if head else None, pairs)

    def _tags(self, line: bytes) -> _Line:
        fields = line.split(self._form.delimiter.encode())
        skip = 2 if self._form.label is not None else 1
        label = (fields[1] if len(fields) > 1 else b"") if self._form.label is not None else None
        separator = self._form.tag_value_delimiter.encode()
        if not self._form.tag_with_value:
            return _Line(fields[0], label, [(tag, b"1") for tag in _said(fields[skip:])])
        # FATE's own files set the id off by a comma, and the tags by semicolons.
        tags = [tag for field in fields[skip:] for tag in field.split(b";")]
        return _Line(fields[0], label, [_pair(tag, separator) for tag in _said(tags)])

    def _read(self, line: _Line) -> tuple[bytes, float, dict[int, float]]:
        sample = read_id(line.sample, self._form.strip_ids) if self._has_id else b""
        label = 0.0
        if self._has_label:
            label = self._numbers.named(line.label or b"", self._form.label or "y", self._form.label_type)
        values: dict[int, float] = {}
        for key, text in line.pairs:
            name = key.decode()
            place = self._place.get(key)
            if place is None or place in values:
                raise ValueError(f"{name} is there twice")
            values[place] = self._numbers.named(text, name, self._form.type_of(name))
        return sample, label, values

    def _block(self, rows: list[tuple[int, bytes, float, dict[int, float]]], made: int) -> Block:
        features = np.zeros((len(rows), len(self._place)))
        for i, (_, _, _, values) in enumerate(rows):
            for place, value in values.items():
                features[i, place] = value
        own = np.array([sample for _, sample, _, _ in rows], dtype=np.bytes_) if self._has_id else None
        first = made + (0 if self._form.extend_sid else 1)
        ids = made_ids(self._prefix if self._form.extend_sid else "", first, len(rows))
        return Block(
            ids=ids if own is None or self._form.extend_sid else own,
            features=features,
            lines=np.array([number for number, _, _, _ in rows], dtype=np.int64),
            match_ids=own if self._form.extend_sid else None,
            label=np.array([label for _, _, label, _ in rows]) if self._has_label else None,
        )


def _lines(text: TextBlocks, form: Format) -> Iterator[tuple[int, bytes]]:
    """Yield each line that says something, with its number; the header of a file of tags means nothing."""
    skips = form.head and form.input_format == "tag"
    for block in text:
        for number, line in enumerate(block.split(b"\n")[:-1], text.line):
            words = line.strip()
            if not words or (words.startswith(b"#") and form.input_format == "svmlight"):
                continue
            if skips:
                skips = False
                continue
            yield number, words


def _said(fields: list[bytes]) -> list[bytes]:
    return [field.strip() for field in fields if field.strip()]


def _pair(field: bytes, separator: bytes) -> tuple[bytes, bytes]:
    key, found, value = field.partition(separator)
    if not found or not key:
        shown = field[:40].decode("utf-8", "replace")
        raise ValueError(f"{shown!r} is no feature and value joined by {separator.decode()}")
    return key, value
