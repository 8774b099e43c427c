"""What a job says about how it is run: FATE 2.x's ``conf``, of the job, of a task, and of one party's task.

Every field of FATE's is taken. Those that have nothing to act on here are named by `remarks`; a field that FATE does
not have either is passed over with a remark, as FATE does, unless it looks like a misspelt one (`partyd.dag.checks`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from partyd.components.base import JsonObject

MAX_NAME = 256
MAX_SECONDS = 100_000_000
MAX_CORES = 4096
MAX_RETRIES = 100


STORED_NAME = re.compile(r"(?!\.{1,2}\Z)[0-9A-Za-z_.#-]{1,256}\Z")
"""What may name a stored model or an earlier job: FATE's own ids, and nothing that means something in a path."""


def number_as_text(value: object) -> object:
    """Return a whole number as text, anything else as it is: ids are often written without quotes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _stored_name(value: str) -> str:
    if not STORED_NAME.match(value):
        raise ValueError(f"{value[:80]!r} may hold only 1 to 256 of 0-9 A-Z a-z _ . # -")
    return value


StoredName = Annotated[str, BeforeValidator(number_as_text), AfterValidator(_stored_name)]


class Part(BaseModel):
    """Base of everything in a job: frozen, unknown fields refused, null the same as absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, Mapping) else value


class Conf(Part):
    """Base of the settings; a field that nobody knows is kept, so that `remarks` can name it."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    without_effect: ClassVar[Mapping[str, str]] = {}
    """Fields that are taken and change nothing, with the reason."""

    def remarks(self, where: str) -> Iterator[str]:
        """Yield a sentence for each field that was written and changes nothing."""
        for field, reason in self.without_effect.items():
            if field in self.model_fields_set and getattr(self, field) not in (None, {}):
                yield f"{where}.{field}: has no effect here: {reason}"
        for field in self.model_extra or {}:
            yield f"{where}.{field[:80]}: has no effect here: no such setting is known"


class Inheritance(Part):
    """Which tasks take their outputs over from an earlier job."""

    job_id: StoredName
    task_list: tuple[str, ...] = Field(min_length=1, max_length=500)


class ModelWarehouse(Part):
    """Which stored model the inputs that come from the registry mean."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_id: StoredName | None = None
    model_version: StoredName | None = None


class Engine(Part):
    """FATE's choice of a computing engine."""

    name: str = Field(max_length=MAX_NAME)
    conf: JsonObject = Field(default_factory=dict)


class TaskSettings(Conf):
    """How tasks are run: under ``conf.task``, a task's ``conf``, and a party's ``conf``."""

    engine_run: JsonObject = Field(default_factory=dict)
    run: JsonObject = Field(default_factory=dict)
    provider: str | None = Field(default=None, max_length=MAX_NAME)
    timeout: int | None = Field(default=None, ge=1, le=MAX_SECONDS)
    launcher_name: str | None = Field(default=None, max_length=MAX_NAME)
    launcher_conf: JsonObject = Field(default_factory=dict)
    cores: int | None = Field(default=None, ge=1, le=MAX_CORES)
    auto_retries: int | None = Field(default=None, ge=0, le=MAX_RETRIES)

    without_effect = {
        "run": "a task has one way to run; say the number of cores in engine_run.cores",
        "provider": "every component is run by this installation",
        "launcher_name": "a task runs in one process of this machine",
        "launcher_conf": "a task runs in one process of this machine",
    }

    @field_validator("engine_run")
    @classmethod
    def _cores_in_bounds(cls, value: JsonObject) -> JsonObject:
        cores = value.get("cores")
        if cores is not None and not (type(cores) is int and 1 <= cores <= MAX_CORES):
            raise ValueError(f"cores must be a whole number from 1 to {MAX_CORES}")
        return value

    def remarks(self, where: str) -> Iterator[str]:
        """Yield a sentence for each field that was written and changes nothing; FATE's defaults are no news."""
        for sentence in super().remarks(where):
            if not (self.launcher_name == "default" and sentence.startswith(f"{where}.launcher_name:")):
                yield sentence
        for field in self.engine_run:
            if field != "cores":
                yield f"{where}.engine_run.{field[:80]}: has no effect here: only cores is read"

    def cores_asked(self) -> int | None:
        """Return the cores of one task, None where nothing is said."""
        asked = self.engine_run.get("cores")
        return asked if isinstance(asked, int) else self.cores


class JobConf(Conf):
    """How the job is run; FATE 2.2's fields, ``timeout`` (seconds for the whole job), and two names of older 2.x."""

    priority: int = Field(default=0, ge=-1000, le=1000)
    scheduler_party_id: str | None = Field(default=None, max_length=MAX_NAME)
    initiator_party_id: str | None = Field(default=None, max_length=MAX_NAME)
    inheritance: Inheritance | None = None
    task_parallelism: int | None = Field(default=None, ge=1, le=500)
    cores: int | None = Field(default=None, ge=1, le=MAX_CORES)
    task_cores: int | None = Field(default=None, ge=1, le=MAX_CORES)
    computing_partitions: int | None = Field(default=None, ge=1, le=65_536)
    sync_type: Literal["poll", "callback"] | None = None
    federated_status_collect_type: str | None = Field(default=None, max_length=MAX_NAME)
    auto_retries: int | None = Field(default=None, ge=0, le=MAX_RETRIES)
    timeout: int | None = Field(default=None, ge=1, le=MAX_SECONDS)
    model_warehouse: ModelWarehouse = ModelWarehouse()
    model_id: StoredName | None = None
    model_version: StoredName | None = None
    task: TaskSettings = TaskSettings()
    engine: Engine | None = None
    extra: JsonObject = Field(default_factory=dict)

    without_effect = {
        "scheduler_party_id": "the party that a job is submitted to schedules it",
        "initiator_party_id": "the party that a job is submitted to is its initiator",
        "computing_partitions": "a table is not cut into partitions",
        "sync_type": "parties report what happens as it happens",
        "federated_status_collect_type": "parties report what happens as it happens",
        "engine": "there is one engine",
        "extra": "nothing reads it",
    }

    @field_validator("scheduler_party_id", "initiator_party_id", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return number_as_text(value)

    def remarks(self, where: str) -> Iterator[str]:
        """Yield a sentence for each field that was written and changes nothing."""
        yield from super().remarks(where)
        yield from self.task.remarks(f"{where}.task")

    def cores_of_a_task(self) -> int | None:
        """Return what each task may use: the job's cores, shared among the tasks that run side by side."""
        if self.task_cores is not None or self.cores is None:
            return self.task_cores
        return max(1, self.cores // (self.task_parallelism or 1))


@dataclass(frozen=True)
class TaskConf:
    """How one task of one party is run; None leaves it to the node's own settings."""

    timeout_s: int | None = None
    cores: int | None = None
    auto_retries: int | None = None
    provider: str | None = None


def task_conf(conf: JobConf, layers: Iterable[TaskSettings]) -> TaskConf:
    """Return what the job says for one task, each of ``layers`` going before the ones before it."""
    found = TaskConf(cores=conf.cores_of_a_task(), auto_retries=conf.auto_retries)
    for layer in (conf.task, *layers):
        said: dict[str, Any] = {
            "timeout_s": layer.timeout,
            "cores": layer.cores_asked(),
            "auto_retries": layer.auto_retries,
            "provider": layer.provider,
        }
        found = replace(found, **{name: value for name, value in said.items() if value is not None})
    return found
