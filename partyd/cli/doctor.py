"""``partyd doctor``: what is wrong here, and what to do about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from partyd import trust
from partyd.cli.context import Invocation, about_a_daemon, layout_of
from partyd.config import Settings

if TYPE_CHECKING:
    from partyd.cli.checks import Finding

_COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}


@click.command(epilog="\b\nExample:\n  partyd --instance guest-10000 doctor\n")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@about_a_daemon
def doctor(invocation: Invocation, as_json: bool) -> int:
    """Check keys, clock, disk, store, broker, daemon and each peer. Exit status 1 when something fails."""
    findings = list(examine(invocation.settings()))
    if as_json:
        click.echo(json.dumps({"findings": [dataclasses.asdict(one) for one in findings]}, indent=1))
    else:
        for one in findings:
            click.echo(f"{click.style(f'{one.level:4}', _COLOURS[one.level])} {one.subject}: {one.text}")
            if one.remedy and one.level != "OK":
                click.echo(f"     -> {one.remedy}")
    return int(any(one.level == "FAIL" for one in findings))


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, the likeliest cause of the later findings first."""
    from partyd.cli.checks import check_clock, check_disk, check_keys, check_store  # the store and the MQTT client are
    from partyd.cli.checks_network import check_broker, check_daemon, check_peers  # slow to load, and only needed here

    layout, now = layout_of(settings), trust.now_s()
    yield from check_keys(settings, layout, now)
    yield from check_clock(settings, layout, now)
    yield from check_disk(settings, layout)
    yield from check_store(settings, layout)
    yield from check_broker(settings)
    yield from check_daemon(settings, layout)
    yield from check_peers(settings, layout, now)
