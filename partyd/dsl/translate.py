"""Jobs of FATE 1.x: a DSL (version 2) and a runtime conf become a 2.x DAG, with a note for all that is lost.

`partyd.dsl.modules` says what each module is here. A ``DataTransform`` (``DataIO``) is folded into what it reads:
columns are described when a table is uploaded. A prediction names its model in ``job_parameters``: whatever was
trained reads its model from the registry under the same task name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from partyd.components.base import Component, JsonObject
from partyd.dag.document import plain
from partyd.dag.places import describe, nearest, shown
from partyd.dag.spec import JobSpec, read_dag
from partyd.dsl.conf import Dsl, Node, RuntimeConf, is_first_version
from partyd.dsl.modules import MODULES, WITHOUT
from partyd.dsl.notes import Log, Note
from partyd.dsl.rules import apply_all
from partyd.dsl.wiring import Wiring
from partyd.errors import JobRejected, Mistake

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Translated:
    """A 1.x job as a document for `read_dag`, and what was lost on the way."""

    document: JsonObject
    notes: tuple[Note, ...] = ()


def read_any(document: object, components: Mapping[str, Component]) -> tuple[JobSpec, tuple[Note, ...]]:
    """Return the checked job in whatever form a user sent it, with the notes of a translation.

    A DAG (``dag``, or all of it under ``dag_schema``), or FATE 1.x's ``dsl`` with ``conf`` (``runtime_conf``,
    ``job_runtime_conf``, ``job_dsl``). Raises JobRejected with every mistake.
    """
    if not isinstance(document, dict):
        raise JobRejected.of([Mistake("the document", "a mapping with the key dag is expected", "see flow job submit")])
    if "dag_schema" in document and "dag" not in document:
        return read_dag(document["dag_schema"], components), ()
    conf = next((document[key] for key in ("conf", "runtime_conf", "job_runtime_conf") if key in document), None)
    dsl = next((document[key] for key in ("dsl", "job_dsl") if key in document), None)
    if "dag" in document or (dsl is None and not _looks_like_conf(conf)):
        return read_dag(document, components), ()
    translated = translate(dsl, conf)
    return read_dag(translated.document, components), translated.notes


def _looks_like_conf(conf: object) -> bool:
    return isinstance(conf, dict) and ("component_parameters" in conf or "job_parameters" in conf)


def translate(dsl: object, conf: object) -> Translated:
    """Return the 2.x document of a 1.x job; raises JobRejected naming every module without counterpart and mistake."""
    dsl, conf = plain(dsl), plain(conf)
    if is_first_version(conf):
        hint = 'write "dsl_version": 2, job_parameters.common, component_parameters.common and .role'
        raise JobRejected.of([Mistake("conf.dsl_version", "only DSL version 2 of FATE 1.5 and later is read", hint)])
    if dsl is None:
        hint = "add the DSL: for a prediction, what flow model get-predict-dsl printed, or the training's"
        raise JobRejected.of([Mistake("dsl", "is missing", hint)])
    return _Translation(_read(Dsl, dsl, "dsl"), _read(RuntimeConf, conf, "conf")).translated()


def _read(model: type[M], document: object, where: str) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = describe(error, model, document)
        raise JobRejected.of(
            Mistake(where if m.path == "the document" else f"{where}.{m.path}", m.message, m.hint) for m in found
        ) from error


@dataclass(frozen=True)
class _Translation:
    dsl: Dsl
    conf: RuntimeConf
    log: Log = field(default_factory=Log)

    @property
    def wiring(self) -> Wiring:
        return Wiring(self.dsl, self.conf, self.log)

    def translated(self) -> Translated:
        self.check()
        nodes = {name: node for name, node in self.dsl.components.items() if node.module in MODULES}
        tasks = {n: self.task(n, node) for n, node in nodes.items() if MODULES[node.module].shape != "folded"}
        for name, node in nodes.items():
            if MODULES[node.module].shape == "folded":
                self.parameters(name, node, self.conf.component_parameters.common.get(name, {}), "common")
        guests = [{"role": role, "party_id": [p]} for role, _, p in self.conf.parties() if role == "guest"]
        for name in self.wiring.readers_of_scores() & tasks.keys():
            tasks[name]["parties"] = guests
        dag: JsonObject = {
            "parties": [{"role": role, "party_id": [p]} for role, _, p in self.conf.parties()],
            "stage": "predict" if self.conf.predicts else "train",
            "tasks": tasks,
        }
        dag |= {"party_tasks": self.party_tasks(nodes, tasks), "conf": self.job_conf()}
        if self.log.mistakes:
            raise JobRejected.of(self.log.mistakes)
        return Translated({"dag": dag, "schema_version": "2.2.0"}, tuple(self.log.notes))

    def check(self) -> None:
        """Note or refuse what no single task is about."""
        for name, node in self.dsl.components.items():
            where = f"dsl.components.{name}"
            if node.module not in MODULES:
                hint = WITHOUT.get(node.module) or nearest(node.module, MODULES)
                self.log.wrong(f"{where}.module", f"{shown(node.module)} has no counterpart here", hint)
            self.unknown(node, where, {"need_deploy", "CodePath"})
            self.unknown(node.input, f"{where}.input", set())
        self.unknown(self.dsl, "dsl", set())
        self.unknown(self.conf, "conf", set())
        for role in self.conf.role:
            if role not in {"guest", "host", "arbiter"}:
                self.log.note(f"conf.role.{role}", "this role takes no part in a job here")
        for path, settings in self.named_parameters():
            for name in settings:
                if name not in self.dsl.components:
                    self.log.unknown(f"{path}.{name[:80]}", "component", name, self.dsl.components)
        first = self.conf.initiator
        if first and first.party_id not in self.conf.role.get(first.role, ()):
            self.log.wrong(
                "conf.initiator", f"{first.party_id}/{first.role} is not among the roles", "name one of them"
            )
        if self.conf.provider:
            self.log.note("conf.provider", "every component is run by this installation")

    def unknown(self, part: Any, where: str, quiet: set[str]) -> None:
        for name in part.unknown():
            if name not in quiet:
                self.log.note(f"{where}.{name[:80]}", "is not read here; it is left out")

    def named_parameters(self) -> Iterator[tuple[str, Mapping[str, JsonObject]]]:
        yield "conf.component_parameters.common", self.conf.component_parameters.common
        for role, places in self.conf.component_parameters.role.items():
            for place, settings in places.items():
                yield f"conf.component_parameters.role.{role}.{place}", settings

    def task(self, name: str, node: Node) -> JsonObject:
        module = MODULES[node.module]
        given = self.conf.component_parameters.common.get(name, {})
        task: JsonObject = {"component_ref": module.component}
        stage = self.wiring.stage(name, node)
        if stage != ("predict" if self.conf.predicts else "train") and module.shape == "trained":
            task["stage"] = stage
        task["parameters"] = self.parameters(name, node, given, "common")
        for message in module.notes if stage != "predict" and "decay" not in given else ():
            self.log.note(f"dsl.components.{name}", message)
        task["inputs"] = {
            "data": self.wiring.data_inputs(name, node, stage),
            "model": self.wiring.model_inputs(name, node, stage),
        }
        if node.input.cache:
            self.log.note(
                f"dsl.components.{name}.input.cache", "an intersection is computed anew; the result is the same"
            )
        return task

    def parameters(self, name: str, node: Node, given: JsonObject, where: str) -> JsonObject:
        """Return what 1.x's parameters are here, with the values that 1.x takes where nothing is said."""
        module = MODULES[node.module]
        out: JsonObject = {}
        list(apply_all(module.parameters, _filled(module.defaults, given), out))
        out |= module.fixed
        for path, message in apply_all(module.parameters, given, {}):
            self.log.note(f"conf.component_parameters.{where}.{name}.{path}", message)
        return out

    def party_tasks(self, nodes: Mapping[str, Node], tasks: JsonObject) -> JsonObject:
        """Return what single parties set differently: what their parameters, put into the common ones, change."""
        groups: JsonObject = {}
        for role, place, party_id in self.conf.parties():
            own: dict[str, JsonObject] = {}
            for path, settings in self.conf.own_parameters(role, place):
                for name, given in settings.items():
                    own[name] = own.get(name, {}) | given
                    if name in nodes:
                        where = path.removeprefix("conf.component_parameters.")
                        self.parameters(name, nodes[name], given, where)
            changed = {name: self.differing(name, nodes[name], given) for name, given in own.items() if name in tasks}
            if any(changed.values()):
                groups[f"{role}_{party_id}"] = {
                    "parties": [{"role": role, "party_id": [party_id]}],
                    "tasks": {name: {"parameters": values} for name, values in changed.items() if values},
                }
        return groups

    def differing(self, name: str, node: Node, given: JsonObject) -> JsonObject:
        module, common = MODULES[node.module], self.conf.component_parameters.common.get(name, {})
        before: JsonObject = {}
        after: JsonObject = {}
        list(apply_all(module.parameters, _filled(module.defaults, common), before))
        list(apply_all(module.parameters, _filled(module.defaults, _filled(common, given)), after))
        return {key: value for key, value in after.items() if key not in before or before[key] != value}

    def job_conf(self) -> JsonObject:
        """Return the job's own settings."""
        where, conf = "conf.job_parameters.common", dict[str, Any]()
        given = dict(self.conf.job_parameters.common)
        if given.pop("job_type", "train") not in ("train", "predict"):
            self.log.wrong(f"{where}.job_type", "is neither train nor predict", "write one of these")
        model = {key: given.pop(key) for key in ("model_id", "model_version") if given.get(key) is not None}
        if self.conf.predicts:
            conf["model_warehouse"] = model
            self.log.note(
                f"{where}.model_id", "a model that FATE 1.x trained cannot be read; name one that was trained here"
            )
            if "model_id" not in model:
                self.log.wrong(f"{where}.model_id", "is missing", "name the model to predict with")
        inherited = given.pop("inheritance_info", None)
        if isinstance(inherited, dict) and inherited:
            listed = inherited.get("component_list")
            kept = [name for name in listed if not self.is_folded(name)] if isinstance(listed, list) else listed
            conf["inheritance"] = {"job_id": inherited.get("job_id"), "task_list": kept}
        for name, value in given.items():
            if name in JOB_FIELDS:
                conf[name] = value
            else:
                self.log.note(f"{where}.{name[:80]}", JOB_NOTES.get(name, "has no effect here"))
        for role in self.conf.job_parameters.role:
            self.log.note(f"conf.job_parameters.role.{role}", "a job is run alike at all parties; this is left out")
        return conf

    def is_folded(self, name: object) -> bool:
        node = self.dsl.components.get(name) if isinstance(name, str) else None
        return node is not None and node.module in MODULES and MODULES[node.module].shape == "folded"


JOB_FIELDS = frozenset({"task_cores", "task_parallelism", "computing_partitions", "auto_retries", "timeout"})
JOB_NOTES = {
    "auto_retry_delay": "a task that is tried again begins at once",
    "work_mode": "there is one way to run; it has no effect on the result",
    "backend": "there is one engine; it has no effect on the result",
    "user": "who submits a job is known by the request",
}


def _filled(defaults: Mapping[str, object], given: Mapping[str, object]) -> JsonObject:
    """Return ``given`` with what it does not say taken from ``defaults``, mappings going into each other."""
    filled: JsonObject = dict(defaults)
    for name, value in given.items():
        before = filled.get(name)
        filled[name] = _filled(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return filled
