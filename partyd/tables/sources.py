"""What lies outside the daemon and may become a table: files under the site's roots, and its databases.

Neither a job nor a request names a database's address: they name a source, and the site's own directory says where it
is (``data.sources_dir``, one file ``NAME.url`` a database).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from partyd.config import DataSettings
from partyd.data.formats import Format
from partyd.data.orders import Order
from partyd.errors import DataError
from partyd.layout import Layout

MAX_URL_BYTES = 4096
_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class FileMark(BaseModel):
    """What a bound file looked like when it was bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    mtime_ns: int
    sha256: str
    is_folder: bool = False
    """Whether the path is a table in our own columns, which is used where it lies."""


class Sources:
    """Finds files and databases, and refuses those that the site does not allow."""

    def __init__(self, layout: Layout, settings: DataSettings, *, is_standalone: bool = False) -> None:
        self._settings = settings
        self._state_dir = layout.state_dir
        self._roots = settings.bind_roots or (layout.state_dir / "data",)
        self._any_file = is_standalone and not settings.bind_roots

    def path(self, text: str, *, must_exist: bool = True) -> Path:
        """Return a path under one of the site's roots; raises DataError, which says the same for all others."""
        base = Path.cwd() if self._any_file else self._roots[0]
        try:
            path = (base / Path(text).expanduser()).resolve(strict=False)
            exists = path.exists()
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{text[:200]!r} is no path") from error
        if not self._is_allowed(path):
            allowed = ", ".join(map(str, self._roots))
            raise DataError(
                f"{text[:200]} does not lie under {allowed}; move the file there or name its directory in "
                "data.bind_roots of the daemon's settings"
            )
        if must_exist and not exists:
            raise DataError(f"{path} does not exist on the daemon's machine; see the path, or send the file itself")
        return path

    def url(self, name: str) -> str:
        """Return the URL of a configured database; raises DataError naming those there are."""
        folder = self._settings.sources_dir or self._state_dir / "conf" / "sources"
        file = folder / f"{name}.url"
        known = sorted(path.stem for path in folder.glob("*.url")) if folder.is_dir() else []
        if not _NAME.match(name) or name not in known:
            there = ", ".join(known) or "none"
            raise DataError(
                f"there is no source {name[:64]!r}; there are: {there}. The site's owner writes a database's URL "
                f"into {folder}/NAME.url"
            )
        try:
            if file.stat().st_mode & 0o077:
                raise DataError(f"{file} can be read by others and may hold a password: chmod 600 {file}")
            text = file.read_text(encoding="utf-8")[:MAX_URL_BYTES].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read: {error}") from error
        if not text:
            raise DataError(f"{file} is empty; write postgresql://USER:PASSWORD@HOST/DATABASE into it")
        return text

    async def order(
        self,
        folder: Path,
        form: Format,
        *,
        path: str = "",
        source: str = "",
        query: str = "",
        table: str = "",
        shown_as: str = "",
    ) -> Order:
        """Return the order to read a file that is allowed, or from a database; raises DataError."""
        url = await asyncio.to_thread(self.url, source) if source else ""
        return Order(
            folder=folder,
            form=form,
            path=Path(path) if path else None,
            shown_as=shown_as or (f"source {source}" if source else path),
            url=url,
            query=query,
            table=table,
            max_columns=self._settings.max_columns,
            sid_prefix=secrets.token_hex(8),
        )

    async def mark(self, path: Path) -> FileMark:
        """Return what a file or a folder of ours looks like; raises DataError for anything else."""
        return await asyncio.to_thread(_mark, path)

    async def check(self, path: str, mark: FileMark) -> None:
        """Raise DataError when a bound file has changed or is gone."""
        await asyncio.to_thread(_check, self.path(path), mark)

    def _is_allowed(self, path: Path) -> bool:
        state = self._state_dir.resolve()
        if path.is_relative_to(state) and not path.is_relative_to(state / "data"):
            return False  # keys, stores and other jobs' files are nobody's data
        return self._any_file or any(path.is_relative_to(root.resolve()) for root in self._roots)


def _mark(path: Path) -> FileMark:
    is_folder = path.is_dir()
    file = path / "schema.json" if is_folder else path
    try:
        if not file.is_file():
            raise DataError(
                f"{path} is a directory without schema.json; bind a file, or a folder in partyd's own columns"
                if is_folder
                else f"{path} is no regular file"
            )
        about = file.stat()
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return FileMark(size=about.st_size, mtime_ns=about.st_mtime_ns, sha256=digest, is_folder=is_folder)


def _check(path: Path, mark: FileMark) -> None:
    file = path / "schema.json" if mark.is_folder else path
    try:
        about = file.stat()
    except OSError as error:
        raise DataError(f"{path} was bound and is gone: {error.strerror}; put it back, or delete the table") from error
    if (about.st_size, about.st_mtime_ns) != (mark.size, mark.mtime_ns) and _mark(path).sha256 != mark.sha256:
        raise DataError(f"{path} has changed since it was bound; bind it again with: flow table bind")
