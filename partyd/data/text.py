"""Text files in blocks of whole lines, unpacked, decoded and with equal ends of line, whatever the file's size."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from partyd.data.formats import Format
from partyd.errors import DataError

BLOCK_BYTES = 4 << 20
MAX_LINE_BYTES = 16 << 20
GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TextBlocks:
    """The blocks of a text file; ``line`` is the number of the first line of the block that was yielded last."""

    def __init__(self, path: Path, form: Format, where: str) -> None:
        self._form = form
        self._raw = opened(path, where)
        self.where = where
        magic = self._raw.read(2)
        self._raw.seek(0)
        self._stream = cast("BinaryIO", gzip.GzipFile(fileobj=self._raw)) if magic == GZIP_MAGIC else self._raw
        self._offset = 0
        self.line = 1

    @property
    def position(self) -> int:
        """How many bytes of the file have been read, packed as they are."""
        return self._raw.tell()

    def close(self) -> None:
        """Let the file go."""
        self._stream.close()
        self._raw.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield UTF-8 text that ends with a newline; raises DataError naming line and byte of what cannot be read."""
        rest, lines, is_first = b"", 0, True
        while True:
            data = self._read()
            if is_first and self._form.encoding == "utf-8" and data.startswith(BYTE_ORDER_MARK):
                data = data[len(BYTE_ORDER_MARK) :]
                self._offset = len(BYTE_ORDER_MARK)
            is_first = False
            whole, rest = self._split(rest + data, is_last=not data)
            if whole:
                self.line += lines
                text = self._decoded(whole)
                self._offset += len(whole)
                lines = text.count(b"\n")
                yield text
            if not data:
                return

    def _read(self) -> bytes:
        try:
            return self._stream.read(BLOCK_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.where}, after line {self.line}: {error}; write the file again") from error

    def _split(self, data: bytes, *, is_last: bool) -> tuple[bytes, bytes]:
        """Return whole rows, and what comes after them."""
        if is_last:
            return (data if data.endswith((b"\n", b"\r")) or not data else data + b"\n"), b""
        end = _end_of_rows(data, self._form.quote.encode())
        if end == 0 and len(data) > MAX_LINE_BYTES:
            raise DataError(
                f"{self.where}: after line {self.line} no row ends within {MAX_LINE_BYTES >> 20} MiB; a quote may be "
                "open: mend it, or upload with quotes that mean nothing (quote empty)"
            )
        return data[:end], data[end:]

    def _decoded(self, data: bytes) -> bytes:
        encoding = self._form.encoding
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            line = self.line + _lines(data[: error.start])
            raise DataError(
                f"{self.where}, line {line}, byte {self._offset + error.start + 1}: this is no {encoding}; "
                "name the file's encoding (latin-1, gbk ...) or save it as UTF-8"
            ) from error
        if encoding != "utf-8":
            data = text.encode()
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _end_of_rows(data: bytes, quote: bytes) -> int:
    """Return where the last whole row ends: after a newline that is not between quotes."""
    end = data.rfind(b"\n") + 1
    if not quote or data.count(quote, 0, end) % 2 == 0:
        return end
    text = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    outside = np.searchsorted(np.flatnonzero(text == ord(quote)), ends) % 2 == 0
    return int(ends[outside][-1]) + 1 if outside.any() else 0


def _lines(data: bytes) -> int:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n")


def opened(path: Path, where: str) -> BinaryIO:
    """Open a file; raises DataError that calls it ``where``."""
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}") from error
