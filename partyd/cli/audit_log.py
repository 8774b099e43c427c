"""What ``partyd audit`` does: read the log through a connection that cannot write, and compare it with the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from partyd import trust
from partyd.config import Settings
from partyd.crypto.identity import verify_signature
from partyd.errors import BadValue, ConfigError
from partyd.federation.rows import EventRow
from partyd.governance.audit import PEER_HEADS, Kept
from partyd.governance.audit_check import Known, Report, check_log
from partyd.layout import Layout
from partyd.store import Reader
from partyd.store.offline import reading
from partyd.types import Address

_PAGE = 1000
_MAX_FILE = 64 << 20
_HEADS = TypeAdapter(list[Kept])


def verify(settings: Settings, addresses: Sequence[Address], file: Path | None) -> bool:
    """Print what a check of each log finds, and return whether all are sound."""
    layout, handed_in = Layout(settings.state_dir), _read_heads(file) if file is not None else []
    is_sound = True
    for address in addresses:
        with reading(layout.store_dir(address.role)) as reader:
            report = check_log(reader, address, keys_of(layout, settings), handed_in)
        _tell(address, report)
        is_sound = is_sound and report.is_sound
    return is_sound


def show(
    settings: Settings, addresses: Sequence[Address], job: str | None, after: int, last: int | None, *, as_json: bool
) -> None:
    """Print events, the oldest first."""
    for address in addresses:
        with reading(Layout(settings.state_dir).store_dir(address.role)) as reader:
            start = after
            if last is not None and job is None:
                start = max(after, reader.counter("events") - last)
            found = list(_events(reader, start, job))
        for event in found[-last:] if last else found:
            click.echo(_as_json(address, event) if as_json else _as_line(event))


def heads(settings: Settings, addresses: Sequence[Address], peer: Address) -> None:
    """Print a peer's heads as JSON."""
    found: list[Kept] = []
    for address in addresses:
        with reading(Layout(settings.state_dir).store_dir(address.role)) as reader:
            rows = reader.documents(PEER_HEADS, f"{peer}/", limit=1_000_000)
        found += [Kept.read(row.key, row.document) for row in rows]
    click.echo(json.dumps([kept.model_dump() for kept in sorted(found, key=lambda kept: kept.seq)], indent=1))


def keys_of(layout: Layout, settings: Settings) -> Known:
    """Return what checks signatures with our own keys and those of every peer that is or was pinned."""
    public: dict[Address, set[bytes]] = {}
    for address in settings.addresses:
        own = trust.read_own(layout, address)
        public.setdefault(address, set()).update(card.id_pub for card in (own.card, own.previous) if card is not None)
    for pinned in (*trust.read_peers(layout), *trust.read_revoked(layout)):
        cards = (pinned.card, pinned.previous)
        public.setdefault(pinned.address, set()).update(card.id_pub for card in cards if card is not None)

    def known(signer: Address, signature: bytes, text: bytes) -> bool | None:
        keys = public.get(signer)
        return None if keys is None else any(_holds(key, signature, text) for key in keys)

    return known


def _holds(key: bytes, signature: bytes, text: bytes) -> bool:
    try:
        verify_signature(key, signature, text)
    except BadValue:
        return False
    return True


def _tell(address: Address, report: Report) -> None:
    click.echo(f"{address}: {report.events} events, head {report.head.hex()}")
    for peer, seq in sorted(report.countersigned.items()):
        click.echo(f"  countersigned by {peer} up to event {seq}")
    if not report.countersigned:
        click.echo("  no peer has countersigned it yet")
    for remark in report.remarks:
        click.echo(f"  note: {remark}")
    for problem in report.problems:
        click.echo(f"  BROKEN: {problem}")
    click.echo("  the log is whole" if report.is_sound else "  the log is NOT what it was; ask who had access to it")


def _events(reader: Reader, after: int, job: str | None) -> Iterator[EventRow]:
    while page := reader.events(after, _PAGE, job):
        yield from page
        after = page[-1].seq


def _as_line(event: EventRow) -> str:
    at = datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f"{event.seq:>7}  {at}  {event.kind:<24} {event.job or '-':<24} {_shown(event.detail)}".rstrip()


def _as_json(address: Address, event: EventRow) -> str:
    detail = _shown(event.detail)
    try:
        parsed: object = json.loads(event.detail)
    except ValueError:
        parsed = detail
    document = {"party": str(address), "seq": event.seq, "at": event.at, "kind": event.kind, "job": event.job}
    return json.dumps({**document, "detail": parsed, "hash": event.hash.hex()}, sort_keys=True)


def _shown(detail: bytes) -> str:
    text = detail.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _read_heads(file: Path) -> list[Kept]:
    try:
        with file.open("rb") as stream:
            return _HEADS.validate_json(stream.read(_MAX_FILE))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; name the file that the peer sent") from error
    except ValidationError as error:
        raise ConfigError(f"{file}: holds no heads; the peer makes it with: partyd audit heads ADDRESS") from error
