"""The two fortunes of ``flow test millionaires``: each goes to its own party's daemon and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

import click

from partyd.cli import sample_jobs
from partyd.cli.flow_context import Flow
from partyd.client import Client, ClientError, CsvColumns, Job, Party
from partyd.client.fields import Fields

DEMO_VALUES = (5_000_000, 7_000_000)
MAX_FORTUNE = 2**64 - 1
MAX_EXACT = 2**53
"""Tables hold 64-bit floats, which are exact up to here; what is larger goes as two halves."""


@dataclass(frozen=True)
class Verdict:
    """Who is richer: an address, or None when both are equal."""

    richer: str | None
    sentence: str


def keep(client: Client, role: str, party_id: str, value: int) -> None:
    """Upload a fortune, as a table of one row, to the party that owns it."""
    if not 0 <= value <= MAX_FORTUNE:
        raise click.UsageError(f"--{role}-value must be a whole number from 0 to {MAX_FORTUNE}")
    name = sample_jobs.fortune_name(role, party_id)
    halves = f"id,value_hi,value_lo\n0,{value >> 32},{value & 0xFFFFFFFF}\n"
    client.upload_text(
        f"id,value\n0,{value}\n" if value <= MAX_EXACT else halves,
        sample_jobs.MILLIONAIRES_NAMESPACE,
        name,
        CsvColumns(sample_id="id"),
        Party(role, party_id),
    )


def keep_host(flow: Flow, client: Client, guest: str | None, host: str | None, value: int) -> int:
    """Keep the host's fortune at the host's daemon, and say what the guest does next."""
    site = client.site()
    party_id = host or site.party_id
    if f"{party_id}/host" not in site.addresses:
        raise ClientError(
            f"this daemon is {', '.join(site.addresses)}, not {party_id}/host",
            where=client.url,
            how="give --host-value at the host's own daemon: flow --url URL test millionaires --host-value N",
        )
    keep(client, "host", party_id, value)
    following = f"flow test millionaires -gid {guest or 'ID'} -hid {party_id} --guest-value N"
    flow.answer({"kept_at": f"{party_id}/host"}, [f"kept at {party_id}/host alone; now, at the guest: {following}"])
    return 0


def set_both(
    flow: Flow, client: Client, guest: str | None, host: str | None, values: tuple[int | None, int | None]
) -> tuple[str, str]:
    """Keep both fortunes, each at its own daemon of a standalone federation, and return the two party ids."""
    site = client.site()
    guest_id = guest or site.party_id
    hosts = {s.address.removesuffix("/host"): s.url for s in site.siblings if s.address.endswith("/host")}
    host_id = host or next((party for party in hosts if party != guest_id), "")
    if "guest" not in site.roles or host_id not in hosts:
        raise ClientError(
            "this is no standalone federation's guest" if not hosts else f"there is no host {host_id} beside it",
            where=client.url,
            how="start one with: partyd standalone; or give each value at its own daemon, without --demo",
        )
    guest_value, host_value = (
        default if value is None else value for value, default in zip(values, DEMO_VALUES, strict=True)
    )
    keep(client, "guest", guest_id, guest_value)
    with flow.target().at(hosts[host_id]).client() as at_host:
        keep(at_host, "host", host_id, host_value)
    flow.say(f"guest {guest_id} has {guest_value}, host {host_id} has {host_value}: each known to its own daemon only")
    return guest_id, host_id


def verdict(client: Client, job: Job, guest: str, host: str) -> Verdict:
    """Return the answer as the guest's task wrote it down."""
    documents = Fields.of(
        client.documents(job.job_id, sample_jobs.MILLIONAIRES_TASK, Party("guest", guest)), client.url
    )
    answer = next(iter(documents.part("metric").texts("results")), "")
    verdicts = {
        "guest is richer": Verdict(f"{guest}/guest", f"guest {guest} is richer than host {host}"),
        "host is richer": Verdict(f"{host}/host", f"host {host} is richer than guest {guest}"),
        "equal": Verdict(None, f"guest {guest} and host {host} are equally rich"),
    }
    if answer not in verdicts:
        how = "check that guest and host run the same version"
        raise ClientError(f"the task's answer reads {answer!r:.80}", where=client.url, how=how)
    return verdicts[answer]
