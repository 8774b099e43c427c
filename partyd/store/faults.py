"""Turn what SQLite and the operating system report into partyd's own errors."""

from __future__ import annotations

import errno
from pathlib import Path

import apsw

from partyd.errors import PartydError, StoreCorrupt, StoreError, StoreFull

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_BROKEN = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
_ENVIRONMENT = (
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.CantOpenError,
    apsw.InterruptError,
    apsw.PermissionsError,
)


def from_sqlite(error: apsw.Error, doing: str, system_errno: int = 0) -> StoreError:
    """Return the error to raise instead of ``error``; ``doing`` says what was asked of the store."""
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and system_errno in NO_SPACE):
        return full(doing)
    if isinstance(error, _BROKEN):
        return StoreCorrupt(
            f"the store is damaged ({error}) while {doing}: stop partyd and start it again; "
            "it then checks the whole store, keeps a copy and says which backup command mends it"
        )
    return StoreError(f"the store failed while {doing}: {type(error).__name__}: {error}")


def from_system(error: OSError, doing: str) -> StoreError:
    """Return the error to raise instead of an OSError met while ``doing`` something with a file of the store."""
    if error.errno in NO_SPACE:
        return full(doing)
    return StoreError(f"the store failed while {doing}: {error}; check the disk under the state directory")


def full(doing: str) -> StoreFull:
    """Return the error for a disk without space."""
    return StoreFull(
        f"no space is left on the state directory's disk while {doing}: nothing was changed; "
        "free some space, work resumes by itself"
    )


def translated(error: BaseException, doing: str, system_errno: int = 0) -> BaseException:
    """Return ``error`` itself, or our own error when it came from SQLite or from a file."""
    if isinstance(error, PartydError):
        return error
    if isinstance(error, apsw.Error):
        return from_sqlite(error, doing, system_errno).with_traceback(error.__traceback__)
    if isinstance(error, OSError):
        return from_system(error, doing).with_traceback(error.__traceback__)
    return error


def means_damage(error: apsw.Error) -> bool:
    """Say whether ``error``, met while an existing store is opened and checked, can only come from damaged files."""
    return not isinstance(error, (*_ENVIRONMENT, apsw.FullError))


RESTORE = "stop partyd and restore a backup with 'partyd restore BACKUP --state DIRECTORY'"
"""What to do about damage that was met in a store at work."""


def closed(directory: Path) -> StoreError:
    """Return the error for work given to a store that is closed."""
    return StoreError(f"the store in {directory} is closed: give it work before closing it")
