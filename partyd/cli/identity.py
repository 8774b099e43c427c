"""``partyd init``, ``partyd identity`` and ``partyd card``: our own keys and what we tell others of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import click

from partyd import trust
from partyd.cli.context import Invocation, about_a_daemon, chosen_addresses, layout_of, naming
from partyd.config import Settings
from partyd.config_example import render
from partyd.crypto.identity import KX_LIFETIME_S
from partyd.errors import ConfigError
from partyd.governance.policy_text import policy_example
from partyd.layout import make_private_dir, write_private
from partyd.pidfile import ask_to_reload
from partyd.types import Address
from partyd.wire.card import Card

_FOR = click.option("--for", "role", metavar="ROLE", help="Only the keys of this role, where a daemon serves several.")
_INIT_EPILOG = """\b
Example:
  partyd init --role guest --party-id 10000 --org "First Bank" --broker mqtts://broker.example:8883
"""


@click.command(epilog=_INIT_EPILOG)
@click.option("--org", metavar="NAME", help="The organisation's name, for people at the peers.")
@click.option("--broker", "broker_url", metavar="URL", help="mqtts://HOST:PORT of the broker all parties share.")
@about_a_daemon
def init(invocation: Invocation, org: str | None, broker_url: str | None) -> None:
    """Make directories, keys for each role and a commented configuration. Never overwrites anything."""
    given = {"org": org, "broker.url": broker_url}
    chosen = {key: value for key, value in given.items() if value is not None}
    settings = invocation.merged((), chosen, is_debug=False).settings()
    layout = layout_of(settings)
    for directory in (layout.state_dir, layout.conf_dir, layout.identity_dir, layout.peers_dir):
        make_private_dir(directory)
    for address in settings.addresses:
        is_new = not trust.has_own(layout, address.role)
        own = (trust.create_own if is_new else trust.open_own)(layout, address, settings.org, trust.now_s())
        click.echo(f"{address}: keys {'made' if is_new else 'kept'}, fingerprint {own.identity.fingerprint}")
    keys = {*chosen, *invocation.overrides} - {"party_id", "roles", "state_dir"}
    written = _write_configuration(settings, keys) if not invocation.files else f"{invocation.files[0]} (kept)"
    if not layout.policy_file.exists():
        write_private(layout.policy_file, policy_example().encode())
    click.echo(f"configuration: {written}")
    click.echo(f"policy: {layout.policy_file} (opens nothing to peers yet)")
    click.echo(_next_steps(settings, naming(settings, invocation)))


def _write_configuration(settings: Settings, keys: Collection[str]) -> str:
    """Write the example with ``keys`` set to what was just checked."""
    path = settings.state_dir / "conf" / "partyd.toml"
    if path.exists():
        return f"{path} (kept)"
    values: dict[str, object] = {"party_id": settings.party_id, "roles": settings.roles}
    for key in sorted(keys):
        section, _, name = key.rpartition(".")
        values[key] = getattr(getattr(settings, section) if section else settings, name)
    write_private(path, render(values).encode())
    return str(path)


def _next_steps(settings: Settings, partyd: str) -> str:
    other = next(peer for peer in ("9999/host", "10000/guest") if Address.parse(peer) not in settings.addresses)
    return f"""next:
  1. {partyd} card export -o {settings.instance}.card
     and send the file to each peer
  2. read the fingerprint above to each peer's administrator, on the telephone or face to face
  3. {partyd} peer add {other} --card THEIR.card --fingerprint THEIRS
     for each peer
  4. {partyd} policy allow --help
     says how to open a table to a peer's jobs; until then they are refused
  5. {partyd} doctor
     checks keys, clock, disk, broker and peers
  6. {partyd}
     runs the daemon (as a service: partyd install-service)"""


@click.group()
def identity() -> None:
    """Show or replace our own keys."""


@identity.command("show", epilog="\b\nExample:\n  partyd --instance guest-10000 identity show\n")
@_FOR
@about_a_daemon
def show(invocation: Invocation, role: str | None) -> None:
    """Print the fingerprints that peers pin, and how old keys and cards are."""
    settings = invocation.settings()
    now = trust.now_s()
    for address in chosen_addresses(settings, role):
        own = trust.read_own(layout_of(settings), address)
        age_days = max(0, now - own.identity.kx_created) // 86_400
        click.echo(
            f"{address}\n"
            f"  fingerprint  {own.identity.fingerprint}\n"
            f"  card         serial {own.card.serial}, valid until {day(own.card.not_after)}\n"
            f"  kx key       {age_days} days old, to be rotated after {KX_LIFETIME_S // 86_400}"
        )


@identity.command("rotate", epilog="\b\nExample:\n  partyd --instance guest-10000 identity rotate --kx\n")
@click.option("--kx", "which", flag_value="kx", default="kx", help="Replace the key of the sessions (the default).")
@click.option("--id", "which", flag_value="id", help="Replace the key that signs: every peer must confirm it.")
@_FOR
@about_a_daemon
def rotate(invocation: Invocation, which: str, role: str | None) -> None:
    """Make a new key and the card that announces it; the old kx key still answers for 14 days."""
    settings = invocation.settings()
    layout = layout_of(settings)
    for address in chosen_addresses(settings, role):
        own = trust.rotate(layout, address, settings.org, trust.now_s(), replace_id=which == "id")
        click.echo(f"{address}: new {which} key, card serial {own.card.serial}, fingerprint {own.identity.fingerprint}")
    tell_daemon(invocation)
    if which == "id":
        click.echo("next: send the new card to each peer; each runs `partyd peer add` with the new fingerprint")
    else:
        click.echo("the daemon sends the new card to each peer; one that cannot be reached for 14 days needs the file")


@click.group()
def card() -> None:
    """Give our signed card to peers, or look at theirs."""


@card.command("export", epilog="\b\nExample:\n  partyd --instance guest-10000 card export -o guest-10000.card\n")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write here, not to the terminal."
)
@_FOR
@about_a_daemon
def export(invocation: Invocation, output: Path | None, role: str | None) -> None:
    """Write our card, which holds public keys only; issues a new one when it is about to expire."""
    settings = invocation.settings()
    addresses = chosen_addresses(settings, role)
    if output is not None and len(addresses) > 1:
        raise ConfigError("command line, -o: this daemon has one card for each role; choose one with --for ROLE")
    for address in addresses:
        own = trust.open_own(layout_of(settings), address, settings.org, trust.now_s())
        if output is None:
            click.echo(own.card.to_text(), nl=False)
        else:
            output.write_text(own.card.to_text(), encoding="utf-8")
            click.echo(f"{output}: card of {address}, fingerprint {own.identity.fingerprint}")


@card.command("import", epilog="\b\nExample:\n  partyd --instance guest-10000 card import host-9999.card\n")
@click.argument("file", type=click.Path(path_type=Path))
@about_a_daemon
def import_card(invocation: Invocation, file: Path) -> None:
    """Show a card. It replaces the card of a peer pinned under the same key; it makes nobody trusted."""
    received = trust.read_card_file(file)
    layout = layout_of(invocation.settings())
    known = trust.find_peer(layout, received.address)
    click.echo(describe(received))
    if known is None or not known.fingerprint.matches(received.id_pub):
        word = "not pinned" if known is None else f"pinned with another key, {known.fingerprint}"
        click.echo(
            f"NOT TRUSTED: {received.address} is {word}. Compare the fingerprint with its administrator, then:\n"
            f"  partyd peer add {received.address} --card {file} --fingerprint {received.fingerprint}"
        )
        return
    renewed = trust.renew_peer(layout, known, received, trust.now_s())
    click.echo("already known" if renewed is known else f"taken: replaces the card with serial {known.card.serial}")
    tell_daemon(invocation)


def describe(received: Card) -> str:
    """Return what a card says, for people. Its text comes from a peer and is escaped."""
    org = received.org if received.org.isprintable() else ascii(received.org)
    return (
        f"{received.address}  {org}\n"
        f"  fingerprint  {received.fingerprint}\n"
        f"  serial {received.serial}, valid {day(received.not_before)} to {day(received.not_after)}"
    )


def day(seconds: int) -> str:
    """Return a day for people."""
    return datetime.fromtimestamp(min(seconds, 2**37), UTC).strftime("%Y-%m-%d")


def tell_daemon(invocation: Invocation) -> None:
    """Make a running daemon read its keys and peers again."""
    if ask_to_reload(layout_of(invocation.settings()).pid_file):
        click.echo("the running daemon has been told")
