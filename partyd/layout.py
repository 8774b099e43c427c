"""Where a daemon keeps what: every path under its state directory, and how private files are written.

    conf/*.toml                     settings (`partyd init` writes partyd.toml)
    conf/policy.toml                what peers' jobs may do here
    identity/<role>.key             the private keys of one address, 0600
    identity/<role>.card            its signed card; <role>.previous.card the one before
    peers/<party>-<role>.card       a pinned peer's card, its fingerprint in the first line; .previous.card as above
    peers/revoked/                  cards of peers that must never be spoken to again
    store/<role>/                   SQLite and bodies
    tables/<namespace>/<name>/      uploaded and produced tables
    jobs/<job>/<task>/              working files of workers
    partyd.pid, token               the running daemon's process id; the HTTP token

Names that come from outside (namespaces, tables, jobs, tasks) are encoded, so that none can leave its directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from partyd.types import Address, Role

_MAX_NAME = 160
POLICY_FILE = "policy.toml"
"""Beside the settings: what peers' jobs may do here."""
FEDERATION_FILE = "federation.json"
"""Beside the state directories of a standalone federation: who is there, and where."""


@dataclass(frozen=True)
class Layout:
    """The paths under one state directory; makes none of them."""

    state_dir: Path

    @property
    def conf_dir(self) -> Path:
        return self.state_dir / "conf"

    @property
    def identity_dir(self) -> Path:
        return self.state_dir / "identity"

    @property
    def policy_file(self) -> Path:
        return self.conf_dir / POLICY_FILE

    def key_file(self, role: Role) -> Path:
        return self.identity_dir / f"{role.label}.key"

    def card_file(self, role: Role) -> Path:
        return self.identity_dir / f"{role.label}.card"

    def previous_card_file(self, role: Role) -> Path:
        return self.identity_dir / f"{role.label}.previous.card"

    @property
    def peers_dir(self) -> Path:
        return self.state_dir / "peers"

    @property
    def revoked_dir(self) -> Path:
        return self.peers_dir / "revoked"

    def peer_file(self, peer: Address) -> Path:
        return self.peers_dir / f"{peer.party_id}-{peer.role.label}.card"

    def previous_peer_file(self, peer: Address) -> Path:
        return self.peers_dir / f"{peer.party_id}-{peer.role.label}.previous.card"

    def revoked_file(self, peer: Address) -> Path:
        return self.revoked_dir / f"{peer.party_id}-{peer.role.label}.card"

    def store_dir(self, role: Role) -> Path:
        return self.state_dir / "store" / role.label

    def tables_dir(self, namespace: str, name: str) -> Path:
        return self.state_dir / "tables" / encoded(namespace) / encoded(name)

    def job_dir(self, job: str) -> Path:
        return self.state_dir / "jobs" / encoded(job)

    def task_dir(self, job: str, task: str) -> Path:
        return self.job_dir(job) / encoded(task)

    @property
    def pid_file(self) -> Path:
        return self.state_dir / "partyd.pid"

    @property
    def token(self) -> Path:
        return self.state_dir / "token"


def encoded(name: str) -> str:
    """Turn any text into one file name, different for different texts; raises ValueError for none at all."""
    if not name:
        raise ValueError("a name must have at least one character")
    safe = quote(name.encode("utf-8", "surrogatepass"), safe="-_").replace(".", "%2E").replace("~", "%7E")
    if len(safe) <= _MAX_NAME:
        return safe
    return f"{safe[:80]}~{hashlib.sha256(safe.encode()).hexdigest()}"


def make_private_dir(path: Path) -> None:
    """Make a directory closed to everyone else, and its missing parents; tighten one that is open."""
    for part in reversed([path, *path.parents]):
        if not part.exists():
            part.mkdir(mode=0o700 if part == path else 0o755, exist_ok=True)
            _give_to_owner_of(part.parent, part)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one step, mode 0600, on disk when this returns; a crash leaves the old file or the new one.

    When root writes into a daemon's directory, the file goes to the directory's owner: the daemon must read it.
    """
    make_private_dir(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        _give_to_owner_of(path.parent, draft)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Make a rename or unlink in ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _give_to_owner_of(directory: Path, path: Path) -> None:
    if os.geteuid() != 0:
        return
    owner = directory.stat()
    if owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
