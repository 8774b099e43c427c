"""From the job that trained a model to the job that predicts with it: FATE's deploy.

The chosen tasks stay, those between them are bridged: what a task was trained on becomes what it predicts on, and every
task that gave a model takes it from the registry (``model_warehouse``). The result is a DAG as FATE's client writes
it, ready to be submitted once its readers name the tables to predict on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from partyd.components.base import Component, JsonObject, Kind, Port
from partyd.errors import JobRejected

TRAIN, VALIDATE = "train_data", "validate_data"
ONLY_IN_TRAINING = frozenset({"data_split", "model_merge", "sample"})
"""Components that are left out unless they are asked for: nobody wants a sample of the predictions."""
PREDICTING = frozenset({"predict", "default"})


@dataclass(frozen=True)
class _Train:
    """The tasks of the training job."""

    tasks: Mapping[str, JsonObject]
    components: Mapping[str, Component]
    parties: Sequence[JsonObject]

    def component(self, task: str) -> Component:
        return self.components[self.tasks[task]["component_ref"]]

    def data(self, task: str) -> dict[str, list[JsonObject]]:
        """The outputs of other tasks that a task's data inputs are connected to."""
        given = self.tasks[task].get("inputs", {}).get("data", {})
        return {port: _listed(artifact.get("task_output_artifact")) for port, artifact in given.items()}

    def order(self) -> list[str]:
        before = {task: {s["producer_task"] for ss in self.data(task).values() for s in ss} for task in self.tasks}
        return [task for task in TopologicalSorter(before).static_order() if task in self.tasks]


def deploy(
    spec: JsonObject, components: Mapping[str, Component], model_id: str, model_version: str, tasks: Sequence[str] = ()
) -> JsonObject:
    """Return the job that predicts with a model, from the job (as submitted) that trained it.

    ``tasks`` are those to keep; none named keeps all that give a model or data in prediction. Raises JobRejected for a
    task that the job does not have.
    """
    dag = spec["dag"]
    train = _Train(dag["tasks"], components, dag["parties"])
    unknown = [task for task in tasks if task not in train.tasks]
    if unknown:
        raise JobRejected(f"the model's job has no task {unknown[0]!r}; its tasks are {', '.join(train.tasks)}")
    strange = [task for task in train.tasks if train.tasks[task]["component_ref"] not in components]
    if strange:
        raise JobRejected(f"this partyd has no component {train.tasks[strange[0]]['component_ref']!r}")
    chosen = list(tasks) or [task for task in train.tasks if _has_a_part(train.component(task))]
    kept = {task: _deployed(train, task, set(chosen)) for task in train.order() if task in chosen}
    conf = {k: v for k, v in dag.get("conf", {}).items() if k not in ("inheritance", "model_id", "model_version")}
    conf["model_warehouse"] = {"model_id": model_id, "model_version": model_version}
    found = {**dag, "stage": "predict", "conf": conf, "tasks": kept}
    if "party_tasks" in dag:
        found["party_tasks"] = _party_tasks(dag["party_tasks"], kept)
    return {"dag": found, "schema_version": spec.get("schema_version", "2.2.0"), "kind": spec.get("kind", "fate")}


def _has_a_part(component: Component) -> bool:
    """Return whether a task works on what is predicted: it gives data on, or a model that it takes again."""
    gives = {port.kind for port in component.outputs}
    takes = {port.kind for port in component.inputs}
    return component.name not in ONLY_IN_TRAINING and (Kind.DATA in gives or Kind.MODEL in gives & takes)


def _deployed(train: _Train, task: str, chosen: set[str]) -> JsonObject:
    spec = {k: v for k, v in train.tasks[task].items() if k not in ("inputs", "dependent_tasks")}
    if spec.get("stage") == "predict":
        del spec["stage"]
    inputs: JsonObject = {}
    data = _data(train, task, chosen)
    if data:
        inputs["data"] = data
    model = _model(train, task)
    if model:
        inputs["model"] = model
    if inputs:
        spec["inputs"] = inputs
    sources = [source for artifact in data.values() for source in _listed(artifact["task_output_artifact"])]
    if sources:
        spec["dependent_tasks"] = sorted({source["producer_task"] for source in sources})
    return spec


def _data(train: _Train, task: str, chosen: set[str]) -> JsonObject:
    """Return a task's data inputs in prediction, each connected to what is left upstream of it."""
    given = train.data(task)
    component, trained = train.component(task), train.tasks[task].get("stage") != "predict"
    beside = {VALIDATE} if trained else set()
    if trained and TRAIN in given:  # what was transformed beside the training has no part in what is predicted
        beside.add(_test_input(component, TRAIN, {TRAIN}))
    found: JsonObject = {}
    for port, sources in given.items():
        if port in beside:
            continue
        left = [(source, _upstream(train, source["producer_task"], chosen)) for source in sources]
        linked = [_linked(train, source, up) for source, up in left if up is not None]
        if linked:
            key = _test_input(component, port, set(given) - beside)
            found[key] = {"task_output_artifact": linked[0] if len(linked) == 1 else linked}
    return found


def _upstream(train: _Train, task: str, chosen: set[str]) -> str | None:
    """Return the nearest chosen task that the data of ``task`` came from, itself when it is chosen."""
    if task in chosen:
        return task
    for port, sources in train.data(task).items():
        if port != VALIDATE:
            for source in sources:
                found = _upstream(train, source["producer_task"], chosen)
                if found is not None:
                    return found
    return None


def _linked(train: _Train, source: JsonObject, upstream: str) -> JsonObject:
    link: JsonObject = {k: source[k] for k in ("parties", "roles") if source.get(k)}
    link["producer_task"] = upstream
    link["output_artifact_key"] = _test_output(train.component(upstream), source, upstream)
    return link


def _test_input(component: Component, port: str, given: set[str]) -> str:
    """Return where a task takes in prediction what it took at ``port`` in training."""
    if port != TRAIN and _works(component.inputs, port):
        return port
    free = [p.name for p in _of(component.inputs, Kind.DATA) if p.name not in given and p.name != VALIDATE]
    named = [name for name in free if "test" in name]
    working = [p for p in free if _works(component.inputs, p)]
    return (named or working or [port])[0]


def _test_output(component: Component, source: JsonObject, upstream: str) -> str:
    """Return which output of a task holds, in prediction, what ``source`` was in training."""
    outputs = [p.name for p in _of(component.outputs, Kind.DATA)]
    tested = [name for name in outputs if "test" in name]
    if tested:
        return tested[0]
    key = str(source["output_artifact_key"])
    return key if source["producer_task"] == upstream and key in outputs else (outputs or [key])[0]


def _works(ports: Iterable[Port], name: str) -> bool:
    """Return whether an input has a meaning in prediction."""
    return any(port.name == name and (not port.stages or PREDICTING & set(port.stages)) for port in ports)


def _of(ports: Iterable[Port], kind: Kind) -> list[Port]:
    return [port for port in ports if port.kind is kind]


def _model(train: _Train, task: str) -> JsonObject:
    """Return a task's model input in prediction: what it gave out, or took when it only predicted."""
    component = train.component(task)
    ports = [p for p in _of(component.inputs, Kind.MODEL) if _works(component.inputs, p.name)]
    outputs = _of(component.outputs, Kind.MODEL)
    if not ports or not outputs:
        return {}
    port = next((p for p in ports if p.name == "input_model"), ports[0])
    source: JsonObject = {"producer_task": task, "output_artifact_key": outputs[0].name}
    taken = train.tasks[task].get("inputs", {}).get("model", {}).get(port.name, {})
    used = _listed(taken.get("task_output_artifact")) + _listed(taken.get("model_warehouse"))
    if used and train.tasks[task].get("stage") == "predict":
        source = {k: used[0][k] for k in ("producer_task", "output_artifact_key")}
    parties = train.tasks[task].get("parties") or train.parties
    holders = [group for group in parties if _is_for(outputs[0], group["role"]) and _is_for(port, group["role"])]
    return {port.name: {"model_warehouse": {**source, "parties": holders}}} if holders else {}


def _is_for(port: Port, role: str) -> bool:
    return any(role == member.label for member in port.roles)


def _party_tasks(groups: JsonObject, kept: Mapping[str, JsonObject]) -> JsonObject:
    return {
        name: {**group, "tasks": {task: said for task, said in group.get("tasks", {}).items() if task in kept}}
        for name, group in groups.items()
    }


def _listed(value: object) -> list[JsonObject]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]  # type: ignore[list-item]
