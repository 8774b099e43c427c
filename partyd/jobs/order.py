"""What a worker is told when it starts: one task of one party."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from partyd.components.base import JsonObject, Stage
from partyd.components.limits import Limits
from partyd.jobs.record import AddressText


class WorkOrder(BaseModel):
    """Everything about the task but its data, which comes through the pipe and the files named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    task: str
    attempt: int
    component: str
    stage: Stage = "train"
    parameters: JsonObject
    me: AddressText
    parties: tuple[AddressText, ...]
    inputs: dict[str, tuple[str, ...]]
    """Port to paths: artifacts that earlier tasks of this party wrote, its tables, its models."""
    producers: dict[str, tuple[str, ...]] = {}
    """Port to the task that made each input; "" for a table."""
    tables: dict[str, str] = {}
    """By ``namespace/name``: the folders of this party's tables that the task names."""
    outputs: str
    limits: Limits = Limits()
    contract: str = ""
    """The SHA-256 of the contract that this party has signed, in hex."""
    cores: int = 0
    """How many processes may compute at a time; 0 for as many as there are processors."""
