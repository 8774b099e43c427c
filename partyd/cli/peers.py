"""``partyd peer``: whom we trust, by fingerprints that two people compared."""

from __future__ import annotations

from pathlib import Path

import click

from partyd import trust
from partyd.cli.context import Invocation, about_a_daemon, layout_of, parse_address
from partyd.cli.identity import day, describe, tell_daemon
from partyd.crypto.identity import Fingerprint
from partyd.errors import BadValue, ConfigError

_ADD_EPILOG = """\b
Example:
  partyd --instance guest-10000 peer add 9999/host --card host-9999.card \\
      --fingerprint aaaa-bbbb-cccc-dddd-eeee-ffff-gggg-hhhh-iiii-jjjj-kkkk-llll-mmma
"""


@click.group()
def peer() -> None:
    """Pin, list and revoke the parties we speak to."""


@peer.command("add", epilog=_ADD_EPILOG)
@click.argument("address")
@click.option("--card", "file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The peer's card.")
@click.option("--fingerprint", "text", required=True, metavar="F", help="As the peer's administrator told you.")
@about_a_daemon
def add(invocation: Invocation, address: str, file: Path, text: str) -> None:
    """Trust a peer: its card must have the fingerprint you were told, by telephone or face to face."""
    who, fingerprint = parse_address(address), Fingerprint.parse(text)
    settings = invocation.settings()
    received = trust.read_card_file(file)
    if received.address != who:
        raise ConfigError(f"{file}: this is the card of {received.address}, not of {who}; ask for the right one")
    if who in settings.addresses:
        raise ConfigError(f"{who} is this daemon itself; a peer has another party id or role")
    if not fingerprint.matches(received.id_pub):
        raise ConfigError(
            f"{file}: the card has fingerprint {received.fingerprint}, you gave {fingerprint}; "
            "not pinned: ask the peer again, by telephone and not by mail"
        )
    try:
        pinned = trust.pin(layout_of(settings), received, fingerprint, trust.now_s())
    except BadValue as error:
        raise ConfigError(f"{file}: {error}") from error
    click.echo(f"pinned {describe(pinned.card)}")
    tell_daemon(invocation)


@peer.command("list", epilog="\b\nExample:\n  partyd --instance guest-10000 peer list\n")
@about_a_daemon
def list_peers(invocation: Invocation) -> None:
    """List the peers with fingerprint and expiry, revoked ones too."""
    layout, now = layout_of(invocation.settings()), trust.now_s()
    pinned, revoked = trust.read_peers(layout), trust.read_revoked(layout)
    for one in pinned:
        state = "expired" if one.card.not_after < now else "valid until"
        click.echo(f"{one.address!s:24} {one.fingerprint}  {state} {day(one.card.not_after)}")
    for one in revoked:
        click.echo(f"{one.address!s:24} {one.fingerprint}  REVOKED")
    if not pinned and not revoked:
        click.echo("no peers yet: partyd peer add --help")


@peer.command("revoke", epilog="\b\nExample:\n  partyd --instance guest-10000 peer revoke 9999/host\n")
@click.argument("address")
@about_a_daemon
def revoke(invocation: Invocation, address: str) -> None:
    """Stop speaking to a peer, at once and for good; with new keys it may be added again."""
    known = trust.revoke(layout_of(invocation.settings()), parse_address(address))
    click.echo(f"revoked {known.address} with fingerprint {known.fingerprint}")
    tell_daemon(invocation)
