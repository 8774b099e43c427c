"""What ``partyd doctor`` looks at on this machine: keys, clock, disk and stores. Nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw

from partyd import trust
from partyd.config import Settings
from partyd.crypto.identity import KX_LIFETIME_S
from partyd.errors import ConfigError, PartydError
from partyd.layout import Layout
from partyd.pidfile import running_pid
from partyd.store.layout import Layout as StoreLayout
from partyd.store.opening import Connector
from partyd.wire.card import CLOCK_TOLERANCE_S

Level = Literal["OK", "WARN", "FAIL"]
RELEASED_AT = 1_790_000_000
"""A clock before autumn 2026 is wrong: this software did not exist."""
CARD_WARNING_S = 14 * 86_400


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what to do about it."""

    level: Level
    subject: str
    text: str
    remedy: str = ""


def check_keys(settings: Settings, layout: Layout, now: int) -> Iterator[Finding]:
    """Check the private keys, their permissions and our own cards."""
    for directory in (layout.state_dir, layout.identity_dir):
        if directory.is_dir() and directory.stat().st_mode & 0o077:
            yield Finding("FAIL", "keys", f"{directory} is open to other users", f"chmod 700 {directory}")
    for address in settings.addresses:
        subject = f"keys {address}"
        try:
            own = trust.read_own(layout, address)
        except ConfigError as error:
            yield Finding("FAIL", subject, str(error), "partyd init makes what is missing")
            continue
        yield Finding("OK", subject, f"fingerprint {own.identity.fingerprint}")
        if now - own.identity.kx_created > KX_LIFETIME_S:
            yield Finding("WARN", subject, "the kx key is older than 60 days", "partyd identity rotate")
        if own.card.not_after < now + CARD_WARNING_S:
            remedy = "partyd card export makes a new one; send it to the peers"
            yield Finding(
                "FAIL" if own.card.not_after < now else "WARN", subject, "our card is about to expire", remedy
            )


def check_clock(settings: Settings, layout: Layout, now: int) -> Iterator[Finding]:
    """Compare the clock with what is certain: our release, our cards, our files."""
    remedy = "set the clock (timedatectl set-ntp true); cards are valid by date"
    if now < RELEASED_AT:
        yield Finding("FAIL", "clock", "the clock is before the release of this software", remedy)
        return
    latest = max((path.stat().st_mtime for path in _own_files(settings, layout)), default=0.0)
    if latest > now + CLOCK_TOLERANCE_S:
        yield Finding(
            "FAIL", "clock", f"files here were written {round((latest - now) / 60)} minutes in the future", remedy
        )
    else:
        yield Finding("OK", "clock", "not before our own files")


def _own_files(settings: Settings, layout: Layout) -> Iterator[Path]:
    for role in settings.roles:
        for path in (layout.key_file(role), layout.card_file(role), StoreLayout(layout.store_dir(role)).database):
            if path.exists():
                yield path


def check_disk(settings: Settings, layout: Layout) -> Iterator[Finding]:
    """Check the space under the state directory against the watermark."""
    directory = next(path for path in (layout.state_dir, *layout.state_dir.parents) if path.exists())
    usage = shutil.disk_usage(directory)
    free, needed = usage.free, max(settings.store.low_watermark_bytes, usage.total // 20)
    text = f"{free >> 20} MiB free on the disk of {directory}"
    if free < needed:
        remedy = f"make room: below {needed >> 20} MiB no job is taken"
        yield Finding("FAIL", "disk", text, remedy)
    elif free < 2 * needed:
        yield Finding("WARN", "disk", text, f"below {needed >> 20} MiB no job is taken")
    else:
        yield Finding("OK", "disk", text)


def check_store(settings: Settings, layout: Layout) -> Iterator[Finding]:
    """Let SQLite check each store, while no daemon uses it."""
    pid = running_pid(layout.pid_file)
    for role in settings.roles:
        subject, place = f"store {role.label}", StoreLayout(layout.store_dir(role))
        if pid is not None:
            yield Finding("OK", subject, f"in use by the daemon (process {pid}), which checks it itself")
        elif not place.database.exists():
            yield Finding("OK", subject, "none yet; the daemon makes it at its first start")
        else:
            yield _quick_check(subject, place)


def _quick_check(subject: str, place: StoreLayout) -> Finding:
    remedy = "move it away and run `partyd restore` with the last backup"
    try:
        connection = Connector(place).reading()
        try:
            answer = connection.execute("PRAGMA quick_check(1)").get
        finally:
            connection.close()
    except (apsw.Error, PartydError) as error:
        return Finding("FAIL", subject, f"{place.database}: {error}", remedy)
    if answer == "ok":
        return Finding("OK", subject, f"{place.database} is sound")
    return Finding("FAIL", subject, f"{place.database}: {str(answer)[:200]}", remedy)
