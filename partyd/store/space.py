"""Disk space: the watermark below which no new work is taken, and a reserve for what must still be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True)
class SpaceLimits:
    """Free space is low below ``low_share`` of the disk or ``low_bytes``, whichever is more."""

    low_share: float = 0.05
    low_bytes: int = 512 * MIB
    reserve_bytes: int = 64 * MIB


@dataclass(frozen=True)
class Usage:
    total: int
    free: int


def disk_usage(directory: Path) -> Usage:
    """Return the size of the disk under ``directory`` and what is free for us."""
    usage = shutil.disk_usage(directory)
    return Usage(usage.total, usage.free)


class Space:
    """Watches the state directory's disk and keeps the reserve file."""

    def __init__(self, reserve: Path, limits: SpaceLimits, usage: Callable[[Path], Usage] = disk_usage) -> None:
        self._reserve = reserve
        self._limits = limits
        self._usage = usage

    def free_bytes(self) -> int:
        """Return the bytes free on the disk."""
        return self._usage(self._reserve.parent).free

    def is_low(self) -> bool:
        """Say whether new jobs must be refused and data must no longer be acknowledged."""
        usage = self._usage(self._reserve.parent)
        return usage.free < max(self._limits.low_share * usage.total, self._limits.low_bytes)

    def release(self) -> bool:
        """Delete the reserve so that terminal states can be written; return whether there was one."""
        try:
            self._reserve.unlink()
        except FileNotFoundError:
            return False
        return True

    def renew(self) -> bool:
        """Make the reserve again if it is gone and space is not low; return whether it is there."""
        if self._reserve.exists():
            return True
        if self.is_low() or self.free_bytes() < 2 * self._limits.reserve_bytes:
            return False
        try:
            self._allocate()
        except OSError:
            with suppress(OSError):
                self._reserve.unlink(missing_ok=True)
            return False
        return True

    def _allocate(self) -> None:
        handle = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if self._limits.reserve_bytes:
                os.posix_fallocate(handle, 0, self._limits.reserve_bytes)
        finally:
            os.close(handle)
