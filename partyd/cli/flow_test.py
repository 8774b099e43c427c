"""``flow test``: see that a federation works, with jobs that need no data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import click

from partyd.cli import fortunes, progress, reasons, sample_jobs
from partyd.cli.flow_context import Flow, example, knows_daemon
from partyd.cli.flow_log import log_line
from partyd.client import Client, Job, Party

_TIMEOUT = click.option(
    "-t", "--timeout", "timeout_s", type=click.IntRange(1), default=300, show_default=True, help="Seconds to wait."
)
_GUEST = click.option("-gid", "--guest-party-id", "guest", metavar="ID", help="The guest's party id.")
_HOST = click.option("-hid", "--host-party-id", "host", metavar="ID", help="The host's party id.")


@click.group(
    epilog=example("flow test toy -gid 10000 -hid 10000", "flow test millionaires --demo -gid 10000 -hid 9999")
)
def test() -> None:
    """See that a federation works."""


@test.command(epilog=example("flow test toy -gid 10000 -hid 10000", "flow test toy -gid 10000 -hid 9999 -t 60"))
@click.option("-gid", "--guest-party-id", "guest", required=True, metavar="ID", help="The guest: this daemon's party.")
@click.option("-hid", "--host-party-id", "host", required=True, metavar="ID", help="The host.")
@_TIMEOUT
@click.option("--task-cores", type=click.IntRange(1), help="Taken for FATE's sake: a toy needs no more than one.")
@knows_daemon
def toy(flow: Flow, guest: str, host: str, timeout_s: int, task_cores: int | None) -> int:
    """Add up 1,000 ones of guest and host by secret shares; ends in 'success to calculate secure_sum, it is 2000.0'."""
    with flow.client() as client:
        job_id = client.submit(sample_jobs.toy(guest, host, task_cores=task_cores))
        job = _wait(flow, client, job_id, Wanted("toy", Party("guest", guest), timeout_s))
        lines = client.log(job_id, sample_jobs.TOY_TASK, Party("guest", guest)) if job.status == "success" else []
    flow.answer(
        {"job_id": job_id, "status": job.status, "log": [line.message for line in lines], "reason": job.reason},
        [log_line(line, "secure_sum") for line in lines],
    )
    return 0 if job.status == "success" else 1


@test.command(
    epilog=example(
        "flow test millionaires --demo",
        "flow --port 9381 test millionaires --host-value 7000000     (at the host, first)",
        "flow test millionaires -gid 10000 -hid 9999 --guest-value 5000000     (then at the guest)",
    )
)
@_GUEST
@_HOST
@click.option("--guest-value", type=int, metavar="N", help="The guest's fortune; given to the guest's daemon alone.")
@click.option("--host-value", type=int, metavar="N", help="The host's fortune; given to the host's daemon alone.")
@click.option("--demo", is_flag=True, help="Set both, in a standalone federation on this machine.")
@_TIMEOUT
@knows_daemon
def millionaires(
    flow: Flow,
    guest: str | None,
    host: str | None,
    guest_value: int | None,
    host_value: int | None,
    demo: bool,
    timeout_s: int,
) -> int:
    """Find out who is richer, and nothing else (Yao's problem).

    Each side gives its fortune to its own daemon: first the host says --host-value at its daemon, then the guest says
    --guest-value at its own, which starts the job.
    """
    with flow.client() as client:
        if demo:
            guest, host = fortunes.set_both(flow, client, guest, host, (guest_value, host_value))
        elif guest_value is not None and host_value is not None:
            raise click.UsageError(
                "each fortune is given at its own daemon; --demo sets both in a standalone federation"
            )
        elif host_value is not None:
            return fortunes.keep_host(flow, client, guest, host, host_value)
        elif guest_value is None or guest is None or host is None:
            raise click.UsageError(
                "at the guest: -gid ID -hid ID --guest-value N; at the host: --host-value N; on one machine: --demo"
            )
        else:
            fortunes.keep(client, "guest", guest, guest_value)
        job_id = client.submit(sample_jobs.millionaires(guest, host))
        job = _wait(flow, client, job_id, Wanted("millionaires", Party("guest", guest), timeout_s))
        verdict = fortunes.verdict(client, job, guest, host) if job.status == "success" else None
    flow.answer(
        {"job_id": job_id, "status": job.status, "richer": verdict and verdict.richer, "reason": job.reason},
        [verdict.sentence] if verdict else [],
    )
    return 0 if job.status == "success" else 1


@dataclass(frozen=True)
class Wanted:
    """What a test waits for."""

    name: str
    party: Party
    timeout_s: int


def _wait(flow: Flow, client: Client, job_id: str, wanted: Wanted) -> Job:
    """Say each state of the job, and return it as it ended; a job that takes too long is stopped."""
    show = _says_states(flow, wanted.name)
    job = progress.follow(client, job_id, show, wanted.party, timeout_s=wanted.timeout_s)
    if not job.is_ended:
        client.stop(job_id)
        why = [line.strip() for line in reasons.explain(job)[1:]] or ["look at the daemons' logs"]
        told = "; ".join(why)
        click.echo(f"flow: check job status timeout: {wanted.name} test job {job_id} was still {job.status} after "
                   f"{wanted.timeout_s} s and has been stopped: {told}", err=True)  # fmt: skip
    elif job.status != "success":
        click.echo(f"flow: {reasons.sentence(job)}", err=True)
    return job


def _says_states(flow: Flow, name: str) -> Callable[[Job], None]:
    said: list[str] = []

    def show(job: Job) -> None:
        if job.status not in said[-1:]:
            said.append(job.status)
            flow.say(f"{name} test job {job.job_id} is {job.status}")

    return show
