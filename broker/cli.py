"""partyd-broker: set up, run and check the broker that carries partyd's frames."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from broker import log
from broker.errors import BrokerError, SettingsError

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="partyd")
def cli() -> None:
    """Set up, run and check the broker that carries partyd's frames.

    \b
    Example, from nothing to a checked broker:
      partyd-broker init --dir broker --party 10000 --party 9999 --host broker.example.org
      partyd-broker run --dir broker
      partyd-broker check --dir broker
    """


@cli.command()
@click.option("--dir", "directory", type=_DIRECTORY, required=True, help="Where the broker's files go.")
@click.option("--party", "parties", multiple=True, required=True, help="A party id (repeat).")
@click.option("--passwords", is_flag=True, help="Passwords instead of client certificates.")
@click.option("--plain", is_flag=True, help="No TLS; with --passwords, on this machine only.")
@click.option("--host", "hosts", multiple=True, help="A name or address that clients use (repeat).")
@click.option("--bind", help="Address to listen on  [127.0.0.1; with --host 0.0.0.0].")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on  [8883; with --plain 1883].")
def init(
    directory: Path,
    parties: Sequence[str],
    passwords: bool,
    plain: bool,
    hosts: Sequence[str],
    bind: str | None,
    port: int | None,
) -> None:
    """Write configuration, keys and one folder per party to hand over.

    Run it again to add parties; keys and passwords that exist are never changed.

    \b
    Example:
      partyd-broker init --dir broker --party 10000 --party 9999 --host broker.example.org
    """
    from broker.certificates import utc_now
    from broker.layout import Plan, initialise
    from broker.settings import Identity

    if plain and not passwords:
        raise click.UsageError("--plain needs --passwords: certificates are shown over TLS only")
    identity = Identity.PASSWORDS if passwords else None
    plan = Plan(directory, parties, identity, hosts, bind, port, False if plain else None)
    for path in initialise(plan, utc_now()):
        click.echo(f"wrote {path}")
    click.echo(f"Hand each folder of {directory / 'parties'} to its party, by a channel that nobody else reads.")
    click.echo(f"Next: partyd-broker run --dir {directory}")


@cli.command()
@click.option("--dir", "directory", type=_DIRECTORY, help="A directory that init wrote.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="A broker.toml elsewhere.")
@click.option("--embedded", is_flag=True, help="Serve in this process even where mosquitto is installed.")
@click.option("--port", type=click.IntRange(0, 65535), help="Another port than broker.toml says; 0 takes a free one.")
@click.option("--ready-fd", type=int, help="Write the port to this inherited file descriptor once listening.")
def run(directory: Path | None, config: Path | None, embedded: bool, port: int | None, ready_fd: int | None) -> None:
    """Run the broker in the foreground: mosquitto if it is installed, else the embedded one.

    \b
    Example:
      partyd-broker run --dir broker
    """
    from broker import serve
    from broker.settings import load

    path = config or (directory / "broker.toml" if directory else None)
    if path is None or (directory and config):
        raise click.UsageError("give either --dir or --config")
    settings = load(path)
    if port is not None:
        settings = settings.model_copy(update={"listen": settings.listen.model_copy(update={"port": port})})
    log.configure(settings.log_level)
    sys.exit(serve.run(serve.Service(settings, path.parent, ready_fd), embedded=embedded))


@cli.command()
@click.option("--dir", "directory", type=_DIRECTORY, help="The directory of the running broker.")
@click.option("--url", help="mqtt://HOST:PORT or mqtts://HOST:PORT, where it is not as broker.toml says.")
@click.option(
    "--identity", "identities", type=_DIRECTORY, multiple=True, help="A party's folder (twice, without --dir)."
)
@click.option("--max-packet-bytes", type=int, help="The broker's packet limit  [broker.toml's].")
def check(directory: Path | None, url: str | None, identities: Sequence[Path], max_packet_bytes: int | None) -> None:
    """Prove that the running broker keeps parties in their own mailboxes.

    It connects as a party and as a stranger, tries what must work and what must not, and ends with 1 if a rule fails.

    \b
    Examples:
      partyd-broker check --dir broker
      partyd-broker check --url mqtts://broker.example.org:8883 --identity 10000 --identity 9999
    """
    from broker import probe
    from broker.identity import find_target

    if directory is None and (url is None or len(identities) < 2):
        raise click.UsageError("give --dir, or --url and two --identity folders")
    target = find_target(directory, url, identities, max_packet_bytes)
    findings = probe.run(target)
    click.echo(probe.table(findings))
    sys.exit(0 if all(finding.passed for finding in findings) else 1)


@cli.command()
@click.option("--dir", "directory", type=_DIRECTORY, required=True, help="The broker's directory, with ca.key.")
@click.option("--party", required=True, help="Whose present certificate is to be refused from now on.")
def revoke(directory: Path, party: str) -> None:
    """Revoke a party's certificate; the broker must then be restarted (mosquitto: SIGHUP, once it knows the list).

    \b
    Example:
      partyd-broker revoke --dir broker --party 9999
    """
    from broker import layout
    from broker.certificates import utc_now
    from broker.rules import is_party_id

    if not is_party_id(party):
        raise SettingsError(f"{party!r} is no party id", mend="Use 1 to 64 of 0-9 A-Z a-z _ and -.")
    click.echo(f"wrote {layout.revoke(directory, party, utc_now())}; restart the broker")


def main() -> None:
    """Run the command line; errors are one line on stderr and an exit code (0, 1, 2, 78)."""
    try:
        cli.main(prog_name="partyd-broker")
    except BrokerError as error:
        click.echo(f"partyd-broker: {error}", err=True)
        sys.exit(error.exit_code)
