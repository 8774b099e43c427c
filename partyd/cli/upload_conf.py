"""FATE's upload configuration, as ``flow data upload -c`` takes it: what it means here, and what it cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from partyd.client import ClientError, CsvColumns

_DELIMITERS = ("delimiter", "id_delimiter")
_IGNORED = {
    "address": "tables lie in the daemon's own store",
    "auto_increasing_sid": "the ids of the file are used",
    "drop": "a table of the same name is always replaced",
    "extend_sid": "the ids of the file are used",
    "partition": "tables are not partitioned",
    "partitions": "tables are not partitioned",
    "storage_engine": "tables lie in the daemon's own store",
    "use_local_data": "the file is read where flow runs",
    "work_mode": "there is one mode",
    "dtype": "features are 64-bit floats",
    "feature_dtype": "features are 64-bit floats",
    "label_type": "labels are 64-bit floats",
    "weight_type": "weights are 64-bit floats",
    "match_id_range": "one match id is used",
    "sample_id_range": "one sample id is used",
}
_MEANINGFUL = {"input_format": "dense", "tag_with_value": False, "head": True}
_COLUMNS = {"label_name": "label", "match_id_name": "match_id", "sample_id_name": "sample_id", "weight_name": "weight"}


@dataclass(frozen=True)
class UploadConf:
    """What to upload, as what, and a remark for each setting that is left out."""

    file: Path
    namespace: str
    name: str
    columns: CsvColumns
    remarks: tuple[str, ...] = ()


def read_conf(path: Path) -> UploadConf:
    """Read FATE 1.x's or 2.x's upload configuration (JSON); raises ClientError naming what cannot be done here."""
    document = _document(path)
    meta = document.get("meta") or {}
    if not isinstance(meta, dict):
        raise _wrong(path, "meta is no object", "write it as in FATE 2's documentation")
    given = {**{key: value for key, value in document.items() if key != "meta"}, **meta}
    file = Path(_text(path, given, "file"))
    columns = CsvColumns(
        delimiter=delimiter_of(next((str(given[key]) for key in _DELIMITERS if given.get(key)), ""), str(path)),
        **{ours: _column(path, given, theirs) for theirs, ours in _COLUMNS.items()},
    )
    name_key = "name" if given.get("name") else "table_name"
    remarks = tuple(_remarks(path, given))
    found = next((place for place in (file, path.parent / file) if place.exists()), file)
    return UploadConf(found, _text(path, given, "namespace"), _text(path, given, name_key), columns, remarks)


def delimiter_of(text: str, where: str) -> str:
    """Return the one character that ``text`` means (``tab`` and ``\\t`` too); raises ClientError."""
    character = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(character) > 1:
        raise ClientError(f"the delimiter {text!r} is longer than one character", where=where, how="give one, or tab")
    return character


def _remarks(path: Path, given: Mapping[str, object]) -> list[str]:
    known = {"file", "namespace", "name", "table_name", *_DELIMITERS, *_COLUMNS}
    remarks = []
    for key, value in given.items():
        if key in _MEANINGFUL:
            if value != _MEANINGFUL[key]:
                raise _wrong(
                    path, f"{key} = {value!r} is not supported", f"only {_MEANINGFUL[key]!r} is: convert the file"
                )
        elif key in _IGNORED:
            remarks.append(f"{key} has no effect: {_IGNORED[key]}")
        elif key not in known:
            remarks.append(f"{key} is unknown here and has no effect")
    return remarks


def _document(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _wrong(path, f"is not JSON: {error}", "mend the file") from error
    if not isinstance(document, dict):
        raise _wrong(path, "holds no JSON object", "write it as in FATE's documentation")
    return document


def _text(path: Path, given: Mapping[str, object], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        raise _wrong(path, f"{key} is missing", f'add "{key}": "..."')
    return value


def _column(path: Path, given: Mapping[str, object], key: str) -> str:
    value = given.get(key) or ""
    if not isinstance(value, str):
        raise _wrong(path, f"{key} = {value!r} is no column's name", "name one column")
    return value


def _wrong(path: Path, what: str, how: str) -> ClientError:
    return ClientError(what, where=str(path), how=how)
