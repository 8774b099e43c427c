from __future__ import annotations

from typing import Any

import pytest

from partyd.components import COMPONENTS
from partyd.dag.spec import read_dag
from partyd.errors import JobRejected
from partyd.models.deploy import deploy

PARTIES = [{"role": "guest", "party_id": ["10000"]}, {"role": "host", "party_id": ["9999"]},
           {"role": "arbiter", "party_id": ["9998"]}]  # fmt: skip


def source(task: str, key: str, **more: Any) -> dict[str, Any]:
    return {"task_output_artifact": {"producer_task": task, "output_artifact_key": key, **more}}


def task(ref: str, stage: str = "", model: Any = None, **data: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"component_ref": ref, "inputs": {"data": data}}
    if stage:
        found["stage"] = stage
    if model:
        found["inputs"]["model"] = {"input_model": model}
    return found


TRAIN: dict[str, Any] = {
    "dag": {
        "parties": PARTIES,
        "stage": "train",
        "conf": {"cores": 2, "inheritance": {"job_id": "j0", "task_list": ["reader_0"]}, "model_id": "x"},
        "party_tasks": {
            "guest_10000": {
                "parties": [PARTIES[0]],
                "tasks": {"reader_0": {"parameters": {"name": "g"}}, "evaluation_0": {"parameters": {}}},
            }
        },
        "tasks": {
            "reader_0": {"component_ref": "reader", "parameters": {"namespace": "n", "name": "t"}},
            "psi_0": task("psi", input_data=source("reader_0", "output_data")),
            "split_0": task("data_split", input_data=source("psi_0", "output_data")),
            "statistics_0": task("statistics", input_data=source("psi_0", "output_data")),
            "scale_0": task("feature_scale", train_data=source("split_0", "train_output_data")),
            "scale_1": task(
                "feature_scale",
                "predict",
                source("scale_0", "output_model"),
                test_data=source("split_0", "test_output_data"),
            ),
            "lr_0": task(
                "coordinated_lr",
                train_data=source("scale_0", "train_output_data"),
                validate_data=source("scale_1", "test_output_data"),
            ),
            "evaluation_0": task("evaluation", input_datas=source("lr_0", "train_output_data")),
        },
    },
    "schema_version": "2.2.0",
}


def test_deploying_what_fates_scripts_deploy() -> None:
    found = deploy(TRAIN, COMPONENTS, "m", "0", ["psi_0", "scale_0", "lr_0"])
    tasks = found["dag"]["tasks"]
    assert list(tasks) == ["psi_0", "scale_0", "lr_0"]
    assert tasks["psi_0"] == {"component_ref": "psi"}
    assert tasks["scale_0"]["inputs"]["data"] == {"test_data": source("psi_0", "output_data")}
    assert tasks["lr_0"]["inputs"]["data"] == {"test_data": source("scale_0", "test_output_data")}
    model = tasks["lr_0"]["inputs"]["model"]["input_model"]["model_warehouse"]
    assert (model["producer_task"], model["output_artifact_key"]) == ("lr_0", "output_model")
    assert [group["role"] for group in model["parties"]] == ["guest", "host"]
    assert tasks["lr_0"]["dependent_tasks"] == ["scale_0"]
    dag = found["dag"]
    assert (dag["stage"], dag["conf"]) == (
        "predict",
        {"cores": 2, "model_warehouse": {"model_id": "m", "model_version": "0"}},
    )
    assert dag["party_tasks"]["guest_10000"]["tasks"] == {}


def test_deploying_all_keeps_what_has_a_part_in_prediction_and_can_be_submitted() -> None:
    found = deploy(TRAIN, COMPONENTS, "m", "0")
    tasks = found["dag"]["tasks"]
    assert set(tasks) == {"reader_0", "psi_0", "scale_0", "scale_1", "lr_0"}
    assert tasks["scale_1"]["inputs"]["model"]["input_model"]["model_warehouse"]["producer_task"] == "scale_0"
    assert "stage" not in tasks["scale_1"]
    assert found["dag"]["party_tasks"]["guest_10000"]["tasks"] == {"reader_0": {"parameters": {"name": "g"}}}
    spec = read_dag(found, COMPONENTS)
    assert spec.dag.stage == "predict"


def test_what_was_transformed_beside_the_training_has_no_part_in_what_is_predicted() -> None:
    both = {"train_data": source("split_0", "train_output_data"), "test_data": source("split_0", "test_output_data")}
    tasks = TRAIN["dag"]["tasks"] | {"scale_0": task("feature_scale", **both)}
    found = deploy({"dag": {**TRAIN["dag"], "tasks": tasks}}, COMPONENTS, "m", "0", ["psi_0", "scale_0", "lr_0"])
    assert found["dag"]["tasks"]["scale_0"]["inputs"]["data"] == {"test_data": source("psi_0", "output_data")}


def test_inputs_that_name_parties_keep_them_where_the_producer_stays() -> None:
    only = {"parties": [PARTIES[0]]}
    train = {"dag": {**TRAIN["dag"], "tasks": {
        "reader_0": TRAIN["dag"]["tasks"]["reader_0"],
        "psi_0": task("psi", input_data={"task_output_artifact": [
            source("reader_0", "output_data", **only)["task_output_artifact"],
            source("reader_0", "output_data", parties=[PARTIES[1]])["task_output_artifact"],
        ]}),
    }}}  # fmt: skip
    found = deploy(train, COMPONENTS, "m", "0")
    sources = found["dag"]["tasks"]["psi_0"]["inputs"]["data"]["input_data"]["task_output_artifact"]
    assert [entry["parties"] for entry in sources] == [[PARTIES[0]], [PARTIES[1]]]


def test_a_task_or_component_that_is_not_there_is_named() -> None:
    with pytest.raises(JobRejected, match="no task 'lr_7'"):
        deploy(TRAIN, COMPONENTS, "m", "0", ["lr_7"])
    with pytest.raises(JobRejected, match="no component 'psi'"):
        deploy(TRAIN, {k: v for k, v in COMPONENTS.items() if k != "psi"}, "m", "0")
