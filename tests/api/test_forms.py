"""Files that requests bring: an end to size, to patience and to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from partyd.api import forms
from partyd.api.forms import Spool
from partyd.api.replies import Refusal
from partyd.errors import StoreFull


async def some(*found: bytes) -> AsyncIterator[bytes]:
    for piece in found:
        yield piece


async def silent() -> AsyncIterator[bytes]:
    yield b"x"
    await asyncio.get_running_loop().create_future()


def spool(folder: Path, *, is_low: bool = False) -> Spool:
    return Spool(folder / "file", 3, "send less", lambda: is_low)


def test_a_file_is_written_as_it_comes(tmp_path: Path) -> None:
    asyncio.run(spool(tmp_path).fill(some(b"a", b"bc")))
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="send less") as refused:
        asyncio.run(spool(tmp_path).fill(some(b"ab", b"cd")))
    assert refused.value.status == 413


def test_a_disk_without_room_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreFull, match="free some space"):
        asyncio.run(spool(tmp_path, is_low=True).fill(some(b"a")))


def test_a_sender_that_falls_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "IDLE_S", 0.0)
    with pytest.raises(Refusal, match="nothing has come") as refused:
        asyncio.run(spool(tmp_path).fill(silent()))
    assert refused.value.status == 408
