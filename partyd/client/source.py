"""What can be uploaded: a file by its path, an open file, a text, a pandas DataFrame; always as a stream."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from partyd.client.errors import ClientError
from partyd.client.replies_data import Frame

Source = Path | str | bytes | BinaryIO | Frame
"""A path (``Path`` or ``str``), the bytes of a file, an open binary file, or a DataFrame."""
Sent = Callable[[int], None]


@dataclass(frozen=True)
class Stream:
    """An open source; the size is -1 where it cannot be known before the end."""

    file: BinaryIO
    size: int
    is_gzip: bool
    suffix: str


@contextmanager
def opened(source: Source) -> Iterator[Stream]:
    """Open a source and close what was opened here; raises ClientError for a path that cannot be read."""
    if isinstance(source, bytes):
        yield Stream(io.BytesIO(source), len(source), False, ".csv")
    elif isinstance(source, str | Path):
        with _open(Path(source)) as file:
            yield _stream(file, Path(source).name)
    elif isinstance(source, Frame):
        content = source.to_csv(index=False).encode()
        yield Stream(io.BytesIO(content), len(content), False, ".csv")
    else:
        yield _stream(source, str(getattr(source, "name", "")))


class Joined(io.RawIOBase):
    """Files one after the other as one, read once."""

    def __init__(self, *parts: BinaryIO) -> None:
        super().__init__()
        self._parts = list(parts)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return the next block, empty at the end."""
        while self._parts:
            block = self._parts[0].read(size)
            if block:
                return block
            self._parts.pop(0)
        return b""


def as_form(stream: Stream, fields: Mapping[str, str], name: str) -> tuple[str, Stream]:
    """Return a form of some fields and a file, as FATE's client sends it: its content type, and it as a stream."""
    edge = secrets.token_hex(16)
    texts = [f'--{edge}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    shown = "".join(mark if mark.isalnum() or mark in "._-" else "_" for mark in name)
    texts.append(f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{shown}"\r\n\r\n')
    head, tail = "".join(texts).encode(), f"\r\n--{edge}--\r\n".encode()
    joined = cast("BinaryIO", Joined(io.BytesIO(head), stream.file, io.BytesIO(tail)))
    size = -1 if stream.size < 0 else len(head) + stream.size + len(tail)
    return f"multipart/form-data; boundary={edge}", Stream(joined, size, False, "")


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ClientError(
            f"cannot be read: {error.strerror}", where=str(path), how="name a file that you may read"
        ) from error


def _stream(file: BinaryIO, name: str) -> Stream:
    return Stream(file, _size(file), name.endswith(".gz"), Path(name.removesuffix(".gz")).suffix)


def _size(file: BinaryIO) -> int:
    try:
        return os.fstat(file.fileno()).st_size - file.tell()
    except (OSError, AttributeError):
        pass
    if not file.seekable():
        return -1
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end - here
