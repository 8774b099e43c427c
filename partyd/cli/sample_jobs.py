"""The DAGs that ``flow test`` and the demo submit; ``conf/examples`` holds the same as files."""

from __future__ import annotations

from collections.abc import Mapping

TOY_TASK = "toy_example_0"
MILLIONAIRES_TASK = "millionaires_0"
MILLIONAIRES_NAMESPACE = "millionaires"
JsonObject = dict[str, object]


def toy(guest: str, host: str, *, task_cores: int | None = None) -> JsonObject:
    """Return FATE's toy: both sides have 1,000 ones, and the guest learns how many there are."""
    tasks: JsonObject = {TOY_TASK: {"component_ref": "toy_example", "parameters": {"data_num": 1000}}}
    return _document(_parties(guest, host), tasks, conf={} if task_cores is None else {"cores": task_cores})


def fortune_name(role: str, party_id: str) -> str:
    """Return the name of the one-row table that holds a party's fortune."""
    return f"{role}-{party_id}"


def millionaires(guest: str, host: str) -> JsonObject:
    """Return Yao's problem over the fortunes that both sides have uploaded to their own daemons."""
    tasks: JsonObject = {
        "reader_0": {"component_ref": "reader"},
        MILLIONAIRES_TASK: {
            "component_ref": "millionaires",
            "parameters": {"column": "value"},
            "inputs": _inputs(input_data=("reader_0", "output_data")),
        },
    }
    own = {
        role: _own_table(role, party_id, MILLIONAIRES_NAMESPACE, fortune_name(role, party_id))
        for role, party_id in (("guest", guest), ("host", host))
    }
    return _document(_parties(guest, host), tasks, party_tasks=own)


def breast_lr(guest: str, host: str, arbiter: str, *, namespace: str = "demo") -> JsonObject:
    """Return the demo: intersect, split, scale, train a logistic regression, judge it on both parts."""
    tasks: JsonObject = {
        "reader_0": {"component_ref": "reader"},
        "psi_0": {"component_ref": "psi", "inputs": _inputs(input_data=("reader_0", "output_data"))},
        "data_split_0": {
            "component_ref": "data_split",
            "parameters": {"train_size": 0.7, "test_size": 0.3, "random_state": 42},
            "inputs": _inputs(input_data=("psi_0", "output_data")),
        },
        "feature_scale_0": {
            "component_ref": "feature_scale",
            "parameters": {"method": "standard"},
            "inputs": _inputs(train_data=("data_split_0", "train_output_data")),
        },
        "feature_scale_1": {
            "component_ref": "feature_scale",
            "stage": "predict",
            "inputs": _inputs(test_data=("data_split_0", "test_output_data"))
            | {"model": _artifact("input_model", "feature_scale_0", "output_model")},
        },
        "coordinated_lr_0": {
            "component_ref": "coordinated_lr",
            "parameters": LR_PARAMETERS,
            "inputs": _inputs(
                train_data=("feature_scale_0", "train_output_data"),
                validate_data=("feature_scale_1", "test_output_data"),
            ),
        },
        "evaluation_0": {
            "component_ref": "evaluation",
            "inputs": _inputs(input_datas=("coordinated_lr_0", "train_output_data")),
        },
        "evaluation_1": {
            "component_ref": "evaluation",
            "inputs": _inputs(input_datas=("coordinated_lr_0", "validate_output_data")),
        },
    }
    own = {
        role: _own_table(role, party, namespace, f"breast_{role}") for role, party in (("guest", guest), ("host", host))
    }
    return _document([*_parties(guest, host), {"role": "arbiter", "party_id": [arbiter]}], tasks, party_tasks=own)


LR_PARAMETERS: Mapping[str, object] = {
    "epochs": 20,
    "batch_size": None,
    "optimizer": {"method": "sgd", "penalty": "l2", "alpha": 0.01, "optimizer_params": {"lr": 0.2, "momentum": 0.5}},
    "init_param": {"fit_intercept": True},
}


def _document(
    parties: list[JsonObject],
    tasks: JsonObject,
    *,
    party_tasks: Mapping[str, object] | None = None,
    conf: Mapping[str, object] | None = None,
) -> JsonObject:
    dag: JsonObject = {"parties": parties, "stage": "train", "tasks": tasks}
    dag |= {"party_tasks": dict(party_tasks)} if party_tasks else {}
    dag |= {"conf": dict(conf)} if conf else {}
    return {"dag": dag, "schema_version": "2.2.0"}


def _parties(guest: str, host: str) -> list[JsonObject]:
    return [{"role": "guest", "party_id": [guest]}, {"role": "host", "party_id": [host]}]


def _own_table(role: str, party_id: str, namespace: str, name: str) -> JsonObject:
    return {
        "parties": [{"role": role, "party_id": [party_id]}],
        "tasks": {"reader_0": {"parameters": {"namespace": namespace, "name": name}}},
    }


def _inputs(**connected: tuple[str, str]) -> JsonObject:
    data: JsonObject = {}
    for port, (task, key) in connected.items():
        data |= _artifact(port, task, key)
    return {"data": data}


def _artifact(port: str, task: str, key: str) -> JsonObject:
    return {port: {"task_output_artifact": {"producer_task": task, "output_artifact_key": key}}}
