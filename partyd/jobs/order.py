"""What a worker is told when it starts: one task of one party."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from partyd.components.base import JsonObject
from partyd.jobs.record import AddressText


class WorkOrder(BaseModel):
    """Everything about the task but its data, which comes through the pipe and the files named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    task: str
    attempt: int
    component: str
    stage: Literal["train", "predict", "default"] = "train"
    parameters: JsonObject
    me: AddressText
    parties: tuple[AddressText, ...]
    inputs: dict[str, str]
    """Port to path of the artifact that an earlier task of this party wrote."""
    outputs: str
