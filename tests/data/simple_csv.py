"""CSV read in the plainest way, with the csv module and one value at a time: what the fast reader must agree with."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass, field
from pathlib import Path

from partyd.data.formats import MAX_ID_BYTES, Format


@dataclass
class Simple:
    """A table as lists, and the lines that could not be read."""

    features: list[str] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    label: list[float] = field(default_factory=list)
    numbers: list[list[float]] = field(default_factory=list)
    bad_lines: list[int] = field(default_factory=list)


def read_simply(path: Path, form: Format) -> Simple:
    """Return what a CSV file with ids in column ``id`` and perhaps a label ``y`` holds; repeated ids stay."""
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    text = data.decode("utf-8-sig" if form.encoding == "utf-8" else form.encoding)
    reader = csv.reader(
        io.StringIO(text.replace("\r\n", "\n").replace("\r", "\n"), newline=""), delimiter=form.delimiter
    )
    header = [name.strip() for name in next(row for row in reader if row)]
    table = Simple([name for name in header if name not in ("id", "y")])
    for row in reader:
        if not row:
            continue
        try:
            if len(row) != len(header):
                raise ValueError
            named = dict(zip(header, row, strict=True))
            sample = named["id"].strip(" \t\v\f").encode()
            if not sample or len(sample) > MAX_ID_BYTES or b"\0" in sample:
                raise ValueError
            label = number(named["y"], form) if "y" in named else 0.0
            numbers = [number(named[name], form) for name in table.features]
        except ValueError:
            table.bad_lines.append(reader.line_num)
            continue
        table.ids.append(sample)
        table.label.append(label)
        table.numbers.append(numbers)
    return table


def number(text: str, form: Format) -> float:
    """Return a number, NaN for a missing one; raises ValueError."""
    word = text.strip(" \t\v\f\n")
    if word.lower() in form.missing:
        return float("nan")
    if "_" in word or not word.isascii():
        raise ValueError
    found = float(word)
    if abs(found) == float("inf"):
        raise ValueError
    return found
