"""Unpack what a daemon sends as an archive: plain files only, inside one folder."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from partyd.client.errors import StrangeReply

_ARCHIVES = frozenset({"application/gzip", "application/x-tar", "application/zip", "application/x-zip-compressed"})


def kind_of(content_type: str) -> Literal["archive", "file"]:
    """Return whether an answer of that type is unpacked."""
    return "archive" if content_type in _ARCHIVES else "file"


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Write an archive's files below ``folder`` and return them; raises StrangeReply for one that reaches outside."""
    written = []
    for name, content in _members(archive):
        path = _inside(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with content, path.open("wb") as file:
            shutil.copyfileobj(content, file)
        written.append(path)
    return written


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, zipped.open(info)
        return
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield member.name, content
    except tarfile.TarError as error:
        how = "check that a partyd daemon of this version listens there"
        raise StrangeReply(f"what came is no archive ({error})", where=archive.name, how=how) from error


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        how = "fetch it from a daemon that you trust"
        raise StrangeReply(f"the archive's file {name!r:.200} lies outside", where=str(folder), how=how)
    return folder.joinpath(*parts)
