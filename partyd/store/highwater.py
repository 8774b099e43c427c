"""A small file that remembers how many commits callers were told about.

A damaged write-ahead log looks to SQLite like one that a power cut tore: it drops everything from the first bad frame
on and says nothing, although those commits were acknowledged. So each commit carries a rising number inside the
database, and this file, written after the commit is durable and never ahead of it, says which number must still be
there.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from partyd.store.files import Files

_FORM = struct.Struct(">16sQ")


def record(files: Files, path: Path, store_id: bytes, commits: int) -> None:
    """Note that commit number ``commits`` is durable."""
    form = _FORM.pack(store_id, commits)
    files.overwrite(path, form + zlib.crc32(form).to_bytes(4, "big"))


def recorded(path: Path) -> tuple[bytes, int] | None:
    """Return (store id, commits), or None if nothing trustworthy is there."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    form, check = data[: _FORM.size], data[_FORM.size : _FORM.size + 4]
    if len(form) != _FORM.size or zlib.crc32(form).to_bytes(4, "big") != check:
        return None
    store_id, commits = _FORM.unpack(form)
    return bytes(store_id), int(commits)
