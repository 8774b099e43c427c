"""FATE's upload configuration, as ``flow data upload -c`` takes it: what it means here, and what it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from partyd.cli.flow_options import read_object
from partyd.client import ClientError

_NAMES = {"table_name": "name", "id_delimiter": "delimiter", "id_column": "sample_id_name"}
"""FATE 1.x's words for what 2.x calls otherwise."""
_FIELDS = frozenset({"file", "head", "partitions", "meta", "namespace", "name", "extend_sid", "role", "party_id"})
_META = frozenset(
    {
        "delimiter", "dtype", "encoding", "header", "input_format", "label_name", "label_type", "match_id_list",
        "match_id_name", "match_id_range", "na_values", "on_bad_row", "on_duplicate", "sample_id_name", "storage",
        "tag_value_delimiter", "tag_with_value", "weight_name", "weight_type",
    }
)  # fmt: skip
_IGNORED = {
    "address": "tables lie in the daemon's own store",
    "anonymous_site_name": "anonymous names say role and party id",
    "auto_increasing_sid": "say extend_sid for ids of the daemon's making",
    "block_row_size": "tables are not cut into blocks",
    "component": "the upload is one",
    "data_warehouse": "say namespace and name",
    "destroy": "a table of the same name is always replaced",
    "drop": "a table of the same name is always replaced",
    "exclusive_data_type": "say dtype with a type for each column",
    "id_list": "say sample_id_name",
    "partition": "tables are not partitioned",
    "partitions": "tables are not partitioned",
    "sample_id_range": "one sample id is used",
    "storage_address": "tables lie in the daemon's own store",
    "storage_engine": "tables lie in the daemon's own store",
    "storage_type": "tables lie in the daemon's own store",
    "use_local_data": "a file that is here is sent, any other is the daemon's",
    "work_mode": "there is one mode",
}


@dataclass(frozen=True)
class UploadConf:
    """What to upload, as what in FATE's words, and a remark for each setting that is left out."""

    file: Path
    """Where the file is; on the daemon's machine when it is not here."""
    fields: Mapping[str, object]
    remarks: tuple[str, ...] = ()

    @property
    def is_here(self) -> bool:
        """Whether the file is on this machine, and so has to be sent."""
        return self.file.is_file()


def read_conf(path: Path) -> UploadConf:
    """Read FATE 1.x's or 2.x's upload configuration (JSON); raises ClientError naming what is missing."""
    document = read_object(path)
    meta = document.get("meta") or {}
    if not isinstance(meta, dict):
        raise _wrong(path, "meta is no object", "write it as in FATE 2's documentation")
    outer = {_NAMES.get(key, key): value for key, value in document.items() if key != "meta"}
    inner = {_NAMES.get(str(key), str(key)): value for key, value in meta.items()}
    inner |= {key: outer.pop(key) for key in list(outer) if key in _META}
    file = Path(_text(path, outer, "file"))
    for needed in ("namespace", "name"):
        _text(path, outer, needed)
    fields = {key: value for key, value in outer.items() if key in _FIELDS and key != "file" and value is not None}
    fields["head"] = bool(fields.get("head", True))
    fields["meta"] = {key: value for key, value in inner.items() if key in _META and value is not None}
    found = next((place for place in (file, path.parent / file) if place.is_file()), file)
    return UploadConf(found, fields, tuple(_remarks({**outer, **inner})))


def delimiter_of(text: str, where: str) -> str:
    """Return the one character that ``text`` means (``tab`` and ``\\t`` too); raises ClientError."""
    character = {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)
    if len(character) > 1:
        raise ClientError(f"the delimiter {text!r} is longer than one character", where=where, how="give one, or tab")
    return character


def _remarks(given: Mapping[str, object]) -> list[str]:
    remarks = []
    for key in given:
        if key in _IGNORED:
            remarks.append(f"{key} has no effect: {_IGNORED[key]}")
        elif key not in _FIELDS | _META:
            remarks.append(f"{key} is unknown here and has no effect")
    return remarks


def _text(path: Path, given: Mapping[str, object], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        raise _wrong(path, f"{key} is missing", f'add "{key}": "..."')
    return value


def _wrong(path: Path, what: str, how: str) -> ClientError:
    return ClientError(what, where=str(path), how=how)
