"""``partyd standalone``: a whole federation on one machine, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import click
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from partyd.errors import ConfigError
from partyd.types import PARTY_ID_PATTERN

_EPILOG = """\b
Example, guest 10000, host 9999, arbiter 9998 and host 10000 with a broker, stopped together by Ctrl-C:
  partyd standalone --dir ./federation
"""


def _party_id(text: str) -> str:
    if not PARTY_ID_PATTERN.match(text):
        raise ValueError("a party id is 1 to 64 of 0-9 A-Z a-z _ -")
    return text


PartyId = Annotated[str, AfterValidator(_party_id)]


class StandaloneOptions(BaseModel):
    """What to start; every party is a daemon with keys and state of its own under ``directory``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directory: Path
    guest: PartyId = "10000"
    hosts: tuple[PartyId, ...] = ("9999", "10000")
    arbiter: PartyId = "9998"
    port: Annotated[int, Field(ge=1, le=65_000)] = 9380
    """The guest's API; the others take the ports after it."""
    broker: Literal["auto", "embedded", "mosquitto"] = "auto"
    broker_proxy_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Where the daemons connect instead of the broker, for tests that look at or harm what passes; 0 for none."""


@click.command(epilog=_EPILOG)
@click.option("--dir", "directory", type=click.Path(path_type=Path), default=Path("federation"), show_default=True)
@click.option("--guest", metavar="ID", default="10000", show_default=True, help="The guest's party id.")
@click.option("--host", "hosts", metavar="ID", multiple=True, help="A host; may be repeated.  [default: 9999, 10000]")
@click.option("--arbiter", metavar="ID", default="9998", show_default=True, help="The arbiter's party id.")
@click.option("--port", type=int, default=9380, show_default=True, help="The guest's API; the others follow.")
@click.option("--broker", type=click.Choice(["auto", "embedded", "mosquitto"]), default="auto", show_default=True)
@click.option("--broker-proxy-port", type=int, default=0, hidden=True)
def standalone(
    directory: Path,
    guest: str,
    hosts: tuple[str, ...],
    arbiter: str,
    port: int,
    broker: str,
    broker_proxy_port: int,
) -> int:
    """Start a broker and one daemon for each party, pinned to each other, all on this machine.

    State stays in --dir: a second start finds its jobs.
    """
    given = {"directory": directory.absolute(), "guest": guest, "arbiter": arbiter, "port": port, "broker": broker}
    given["broker_proxy_port"] = broker_proxy_port
    try:
        options = StandaloneOptions.model_validate(given | ({"hosts": hosts} if hosts else {}))
    except ValidationError as error:
        first = error.errors()[0]
        expected = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"command line, {first['loc'][0]}: {expected}, not {first['input']!r}") from error
    from partyd.standalone import run  # loads broker and daemon

    return run(options)
