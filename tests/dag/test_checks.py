from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partyd.algorithms.psi import psi as intersection
from partyd.dag.checks import needed_roles
from partyd.dag.spec import read_dag
from partyd.errors import JobRejected, Mistake
from partyd.types import ARBITER, GUEST, HOST
from tests.dag.registry import REGISTRY, component, data

Change = Callable[[dict[str, Any]], object]


def body(name: str = "lr_train") -> dict[str, Any]:
    document = json.loads((Path(__file__).parent / "dags" / f"{name}.json").read_text())
    found: dict[str, Any] = document["dag"]
    return found


def mistakes(dag: dict[str, Any]) -> list[Mistake]:
    with pytest.raises(JobRejected) as caught:
        read_dag({"dag": dag, "schema_version": "2.2.0"}, REGISTRY)
    return list(caught.value.mistakes)


def source(task: str, key: str, **more: object) -> dict[str, Any]:
    return {"task_output_artifact": {"producer_task": task, "output_artifact_key": key, **more}}


def put(*path: Any) -> Change:
    """Return a change that puts the last of ``path`` at the keys before it."""

    def change(dag: dict[str, Any]) -> None:
        *keys, last, value = path
        here: Any = dag
        for key in keys:
            here = here.setdefault(key, {}) if isinstance(here, dict) else here[key]
        here[last] = value

    return change


GUEST_ONLY = [{"role": "guest", "party_id": ["9999"]}]
HOST_ONLY = [{"role": "host", "party_id": ["10000"]}]
EVALUATED = ("tasks", "evaluation_0", "inputs", "data", "input_datas", "task_output_artifact")
SCALED = ("tasks", "feature_scale_0", "inputs", "data", "train_data")


@pytest.mark.parametrize(
    ("change", "path", "message", "hint"),
    [
        (put("tasks", "psi_0", "component_ref", "psy"), "tasks.psi_0.component_ref", "no component 'psy'", "'psi'?"),
        (put("tasks", "psi_0", "dependent_tasks", ["reader"]), "tasks.psi_0.dependent_tasks.0", "no task", "reader_0"),
        (
            put(*SCALED, "task_output_artifact", "producer_task", "data_split"),
            "tasks.feature_scale_0.inputs.data.train_data.task_output_artifact.producer_task",
            "no task 'data_split'",
            "did you mean 'data_split_0'?",
        ),
        (
            put(*SCALED, "task_output_artifact", "output_artifact_key", "train_data"),
            "tasks.feature_scale_0.inputs.data.train_data.task_output_artifact.output_artifact_key",
            "data_split (data_split_0) has no output 'train_data'",
            "train_output_data",
        ),
        (
            put(*EVALUATED, 0, "output_artifact_key", "output_model"),
            "tasks.evaluation_0.inputs.data.input_datas.task_output_artifact.0.output_artifact_key",
            "'output_model' is model, the input wants data",
            "known:",
        ),
        (
            put(*SCALED, "train_dta", source("psi_0", "output_data")),
            "tasks.feature_scale_0.inputs.data.train_data.train_dta",
            "no such field",
            "data_warehouse",
        ),
        (
            put("tasks", "lr_1", "inputs", "data", "test_dat", source("psi_0", "output_data")),
            "tasks.lr_1.inputs.data.test_dat",
            "coordinated_lr has no input 'test_dat'",
            "did you mean 'test_data'?",
        ),
        (
            put("tasks", "lr_1", "inputs", "data", "input_model", source("lr_0", "output_model")),
            "tasks.lr_1.inputs.data.input_model",
            "input_model is model, not data",
            "write it under inputs.model",
        ),
        (
            put("tasks", "lr_0", "inputs", "data", "test_data", source("psi_0", "output_data")),
            "tasks.lr_0.inputs.data.test_data",
            "no input 'test_data' in the stage train",
            "set the task's stage to predict",
        ),
        (put("tasks", "lr_1", "inputs", "model", {}), "tasks.lr_1.inputs", "'input_model' of coordinated_lr", "inputs"),
        (put(*SCALED, {}), "tasks.feature_scale_0.inputs.data.train_data", "connected to nothing", "data_warehouse"),
        (
            put(*SCALED, {"data_warehouse": {"name": "x"}}),
            "tasks.feature_scale_0.inputs.data.train_data.data_warehouse",
            "which table is meant?",
            "namespace and name",
        ),
        (
            put(*SCALED, {"data_warehouse": {"job_id": "2026", "producer_task": "a", "output_artifact_key": "b"}}),
            "tasks.feature_scale_0.inputs.data.train_data.data_warehouse",
            "an earlier job's output is not read by its name",
            "dag.conf.inheritance",
        ),
        (
            put(*SCALED, {"model_warehouse": {"producer_task": "a", "output_artifact_key": "b", "model_id": "m"}}),
            "tasks.feature_scale_0.inputs.data.train_data.model_warehouse",
            "train_data wants a table, not a model",
            "data_warehouse",
        ),
        (
            put("tasks", "lr_1", "inputs", "model", "input_model", {"data_warehouse": {"name": "x", "namespace": "y"}}),
            "tasks.lr_1.inputs.model.input_model.data_warehouse",
            "input_model wants a model, not a table",
            "model_warehouse",
        ),
        (
            put(
                "tasks",
                "lr_1",
                "inputs",
                "model",
                "input_model",
                {"model_warehouse": {"producer_task": "lr_0", "output_artifact_key": "output_model"}},
            ),
            "tasks.lr_1.inputs.model.input_model.model_warehouse",
            "which model is meant?",
            "dag.conf.model_warehouse",
        ),
        (
            put(*SCALED, {"task_output_artifact": [*source("psi_0", "output_data").values()] * 2}),
            "tasks.feature_scale_0.inputs.data.train_data",
            "2 sources for one data input",
            "name one",
        ),
        (
            put("tasks", "data_split_0", "parties", GUEST_ONLY),
            "tasks.feature_scale_0.inputs.data.train_data",
            "its producer 'data_split_0' does not run there (at 10000/host)",
            "parties",
        ),
        (
            put(*SCALED, source("lr_0", "train_output_data")),
            "tasks.feature_scale_0.inputs.data.train_data",
            "its producer 'lr_0' gives no train_output_data to a host (at 10000/host)",
            "parties",
        ),
        (put("tasks", "psi_0", "parties", GUEST_ONLY), "tasks.psi_0.parties", "needs the role host", "add the host"),
        (put("parties", [*GUEST_ONLY, *HOST_ONLY]), "parties", "('lr_0') needs the role arbiter", "add the arbiter"),
        (
            put("tasks", "psi_0", "parties", [{"role": "guest", "party_id": ["999"]}]),
            "tasks.psi_0.parties.0",
            "999/guest is not among the job's parties",
            "did you mean '9999/guest'?",
        ),
        (
            put(*SCALED, source("psi_0", "output_data", parties=[{"role": "host", "party_id": "1"}])),
            "tasks.feature_scale_0.inputs.data.train_data.task_output_artifact.parties.0",
            "1/host is not among",
            "10000/host",
        ),
        (
            put("party_tasks", "host_10000", "parties", [{"role": "host", "party_id": ["10001"]}]),
            "party_tasks.host_10000.parties.0",
            "10001/host is not among",
            "'10000/host'",
        ),
        (put("party_tasks", "host_10000", "parties", []), "party_tasks.host_10000", "it names no parties", "parties"),
        (
            put("party_tasks", "host_10000", "tasks", "reader_1", {"parameters": {}}),
            "party_tasks.host_10000.tasks.reader_1",
            "no task 'reader_1'",
            "'reader_0'?",
        ),
        (
            put("party_tasks", "host_10000", "tasks", "psi_0", {"inputs": {"data": {"inputdata": {}}}}),
            "party_tasks.host_10000.tasks.psi_0.inputs.data.inputdata",
            "psi has no input 'inputdata'",
            "did you mean 'input_data'?",
        ),
        (
            put("conf", "inheritance", {"job_id": "2026", "task_list": ["psi_0", "lr_2"]}),
            "conf.inheritance.task_list.1",
            "no task 'lr_2'",
            "did you mean 'lr_",
        ),
        (put("conf", "prioritty", 2), "conf.prioritty", "no such setting", "did you mean 'priority'?"),
        (put("conf", "task", {"time_out": 2}), "conf.task.time_out", "no such setting", "did you mean 'timeout'?"),
        (put("tasks", "lr_0", "conf", {"provder": "x"}), "tasks.lr_0.conf.provder", "no such setting", "'provider'?"),
        (put("conf", "auto_retries", -1), "conf.auto_retries", "greater than or equal to 0", "it is -1"),
        (put("conf", "task", "engine_run", {"cores": "4"}), "conf.task.engine_run", "a whole number from 1", ""),
        (put("stage", "trian"), "stage", "'trian' is not one of train, predict", "did you mean 'train'?"),
        (
            put("tasks", "psi_0", "outputs", {"data": {"outputdata": []}}),
            "tasks.psi_0.outputs.data.outputdata",
            "psi has no data output 'outputdata'",
            "did you mean 'output_data'?",
        ),
        (
            put("tasks", "feature_scale_0", "parameters", "method", "standrad"),
            "tasks.feature_scale_0.parameters.method",
            "'standrad' is not one of standard, min_max",
            "did you mean 'standard'?",
        ),
        (
            put("tasks", "feature_scale_0", "parameters", "inner", {"rat": 1}),
            "tasks.feature_scale_0.parameters.inner.rat",
            "no such field",
            "did you mean 'rate'?",
        ),
        (
            put("tasks", "feature_scale_0", "parameters", "inner", {"rate": -1}),
            "tasks.feature_scale_0.parameters.inner.rate",
            "greater than 0",
            "it is -1",
        ),
        (
            put("tasks", "feature_scale_0", "parameters", "feature_range", {"x0": [1]}),
            "tasks.feature_scale_0.parameters.feature_range.x0.1",
            "is missing",
            "write it",
        ),
        (
            put("tasks", "statistics_0", "parties", [{"role": "arbiter", "party_id": "10000"}]),
            "tasks.statistics_0",
            "no party runs statistics",
            "name parties of its roles",
        ),
        (
            put("parties", [*GUEST_ONLY, {"role": "host", "party_id": list(range(64))}]),
            "parties",
            "there are 65 parties",
            "at most 64",
        ),
        (
            put("party_tasks", "host_10000", "tasks", "reader_0", "parameters", {"name": "x"}),
            "tasks.reader_0.parameters.namespace",
            "is missing (at 10000/host)",
            "write it",
        ),
        (
            put("party_tasks", "host_10000", "tasks", "reader_0", "parameters", "nmae", "x"),
            "party_tasks.host_10000.tasks.reader_0.parameters.nmae",
            "no such field (at 10000/host)",
            "did you mean 'name'?",
        ),
    ],
)
def test_each_mistake_has_its_place_and_its_mend(change: Change, path: str, message: str, hint: str) -> None:
    dag = body()
    change(dag)
    found = mistakes(dag)
    assert any(m.path == f"dag.{path}" and message in m.message and hint in m.hint for m in found), found


def test_a_mistake_is_said_once_whatever_the_number_of_parties() -> None:
    dag = body("several_hosts")
    dag["tasks"]["sample_0"]["inputs"] = {}
    dag["tasks"]["sample_0"]["dependent_tasks"] = []
    assert [str(m) for m in mistakes(dag)] == [
        "dag.tasks.sample_0.inputs: the input 'input_data' of sample is not connected; "
        "name where it comes from under inputs.data"
    ]


def test_a_circle_is_said_with_its_tasks() -> None:
    dag = body()
    dag["tasks"]["psi_0"]["dependent_tasks"] = ["data_split_0"]
    (mistake,) = mistakes(dag)
    assert mistake.path == "dag.tasks"
    assert "psi_0 -> data_split_0" in mistake.message


def test_a_task_that_could_not_be_read_gives_no_further_mistakes() -> None:
    dag = body()
    dag["tasks"]["psi_0"]["component_ref"] = 7
    dag["party_tasks"]["host_10000"]["tasks"]["reader_0"]["parameters"] = "x"
    assert sorted(m.path for m in mistakes(dag)) == [
        "dag.party_tasks.host_10000.tasks.reader_0.parameters",
        "dag.tasks.psi_0.component_ref",
    ]


def test_which_roles_a_component_cannot_do_without() -> None:
    lr = REGISTRY["coordinated_lr"]
    assert needed_roles(lr, "train") == GUEST | HOST | ARBITER
    assert needed_roles(lr, "predict") == GUEST | HOST
    assert not needed_roles(REGISTRY["reader"], "default")


def test_a_task_that_each_party_does_by_itself_needs_no_other() -> None:
    dag = body("several_hosts")
    for name in ("sample_0", "sample_1"):
        dag["tasks"][name] |= {"component_ref": "draw", "parties": dag["parties"][:1]}
    dag["tasks"]["sample_0"]["parameters"]["hetero_sync"] = False
    del dag["party_tasks"]
    drawn = component(
        "draw", data("input_data"), data("output_data"), algorithms=(intersection,), alone_if=(("hetero_sync", False),)
    )
    with pytest.raises(JobRejected) as caught:
        read_dag({"dag": dag}, REGISTRY | {"draw": drawn})
    needing = [m.path for m in caught.value.mistakes if "needs the role host" in m.message]
    assert needing == ["dag.tasks.sample_1.parties"]
