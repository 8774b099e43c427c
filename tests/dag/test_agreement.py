"""Parties that set a parameter differently on which they must agree hear of it before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from partyd.components import COMPONENTS
from partyd.dag.spec import read_dag
from partyd.errors import JobRejected, Mistake

GUEST = {"role": "guest", "party_id": ["9999"]}
HOSTS = {"role": "host", "party_id": ["10000", "10001"]}
ARBITER = {"role": "arbiter", "party_id": ["10002"]}
INPUTS: dict[str, dict[str, str]] = {
    "psi": {"input_data": "reader_0"},
    "sample": {"input_data": "psi_0"},
    "data_split": {"input_data": "psi_0"},
    "feature_correlation": {"input_data": "psi_0"},
    "hetero_feature_binning": {"train_data": "psi_0"},
    "hetero_feature_selection": {"train_data": "psi_0"},
    "coordinated_lr": {"train_data": "psi_0"},
    "coordinated_poisson": {"train_data": "psi_0"},
    "homo_lr": {"train_data": "psi_0"},
    "toy_example": {},
}


def job(component: str, common: dict[str, Any], guest: dict[str, Any], host: dict[str, Any]) -> dict[str, Any]:
    """Return a job of reader, psi and one more task, whose parameters differ by party."""
    tasks: dict[str, Any] = {
        "reader_0": {"component_ref": "reader", "parameters": {"namespace": "demo", "name": "rows"}},
        "psi_0": {"component_ref": "psi", "inputs": inputs("psi")},
    }
    name = f"{component}_0"
    tasks[name] = {"component_ref": component, "parameters": common, "inputs": inputs(component)}
    for own in ("reader_0", "psi_0"):
        tasks[own]["parties"] = [GUEST, HOSTS]
    groups = {
        "guest_9999": {"parties": [GUEST], "tasks": {name: {"parameters": guest}}},
        "host_10001": {"parties": [{**HOSTS, "party_id": ["10001"]}], "tasks": {name: {"parameters": host}}},
    }
    return {"dag": {"parties": [GUEST, HOSTS, ARBITER], "tasks": tasks, "party_tasks": groups}}


def inputs(component: str) -> dict[str, Any]:
    return {
        "data": {
            port: {"task_output_artifact": {"producer_task": task, "output_artifact_key": "output_data"}}
            for port, task in INPUTS[component].items()
        }
    }


def mistakes(document: dict[str, Any]) -> list[Mistake]:
    try:
        read_dag(document, COMPONENTS)
    except JobRejected as error:
        return list(error.mistakes)
    return []


@pytest.mark.parametrize(
    ("component", "setting", "ours", "theirs"),
    [
        ("psi", "protocol", "rsa_psi", "ecdh_psi"),
        ("psi", "chunk_rows", 100, 200),
        ("psi", "join_method", "left_join", "inner_join"),
        ("sample", "hetero_sync", True, False),
        ("data_split", "hetero_sync", False, True),
        ("feature_correlation", "local_only", True, False),
        ("hetero_feature_binning", "local_only", True, False),
        ("hetero_feature_binning", "skip_metrics", False, True),
        ("hetero_feature_binning", "host_woe", False, True),
        ("coordinated_lr", "epochs", 3, 4),
        ("coordinated_lr", "batch_size", 100, None),
        ("coordinated_poisson", "early_stop", "diff", "weight_diff"),
        ("homo_lr", "epochs", 3, 4),
        ("homo_lr", "aggregate_iters", 1, 2),
        ("toy_example", "data_num", 10, 20),
    ],
)
def test_what_parties_set_differently_is_said_with_its_path_and_all_values(
    component: str, setting: str, ours: object, theirs: object
) -> None:
    (found,) = mistakes(job(component, {}, {setting: ours}, {setting: theirs}))
    assert found.path == f"dag.party_tasks.guest_9999.tasks.{component}_0.parameters.{setting}"
    assert f"{setting} must be the same at all parties of {component}: " in found.message
    assert "9999/guest" in found.message
    assert "10001/host" in found.message
    assert found.hint == f"write it once, under dag.tasks.{component}_0.parameters, and take it out of party_tasks"
    assert mistakes(job(component, {setting: ours}, {setting: ours}, {})) == []


def test_the_values_stand_beside_those_who_set_them() -> None:
    (found,) = mistakes(job("coordinated_lr", {"epochs": 5}, {}, {"epochs": 6}))
    assert found.path == "dag.party_tasks.host_10001.tasks.coordinated_lr_0.parameters.epochs"
    assert "5 at 9999/guest, 10000/host, 10002/arbiter, 6 at 10001/host" in found.message


def test_a_default_differs_from_another_value_and_equals_itself() -> None:
    (found,) = mistakes(job("coordinated_lr", {}, {}, {"epochs": 6}))
    assert "20 at 9999/guest" in found.message
    assert mistakes(job("coordinated_lr", {}, {}, {"epochs": 20})) == []


def test_of_structured_parameters_the_part_that_differs_is_named() -> None:
    (found,) = mistakes(job("coordinated_lr", {}, {"he_param": {"obfuscation": "full"}}, {}))
    assert found.path.endswith(".coordinated_lr_0.parameters.he_param.obfuscation")
    assert (
        'he_param.obfuscation must be the same at all parties of coordinated_lr: "full" at 9999/guest' in found.message
    )
    (found,) = mistakes(job("homo_lr", {}, {}, {"secure_aggregation": {"threshold": 3}}))
    assert found.path.endswith(".parameters.secure_aggregation.threshold")
    assert "null at 9999/guest" in found.message


def test_parameters_that_are_a_partys_own_may_differ() -> None:
    own = {"optimizer": {"method": "sgd"}, "init_param": {"method": "zeros"}, "tol": 0.1}
    assert mistakes(job("coordinated_lr", {}, own, {})) == []
    assert mistakes(job("hetero_feature_binning", {}, {"method": "bucket"}, {"n_bins": 5})) == []
    assert mistakes(job("psi", {}, {"memory_mb": 64}, {"only_output_key": True})) == []


def test_parties_that_draw_for_themselves_need_not_agree_on_how() -> None:
    alone = {"hetero_sync": False}
    assert mistakes(job("sample", alone, {"replace": True}, {"replace": False})) == []
    assert len(mistakes(job("sample", {}, {"replace": True}, {"replace": False}))) == 1


def test_filters_that_exchange_must_stand_at_the_same_place_and_others_may_differ() -> None:
    at_home = {"method": ["iv", "manual"], "iv_param": {"select_federated": False}}
    assert mistakes(job("hetero_feature_selection", {}, at_home, {"method": ["manual"]})) == []
    (found,) = mistakes(job("hetero_feature_selection", {"method": ["manual"]}, {"method": ["manual", "iv"]}, {}))
    assert found.path == "dag.tasks.hetero_feature_selection_0.parameters"
    assert "select_federated, by their place from 0) must be the same" in found.message
    assert '{"1": "iv"} at 9999/guest, {} at 10000/host, 10001/host' in found.message
    assert found.hint.startswith("write what it follows from once, under")


def test_unreadable_parameters_are_said_once_and_not_compared() -> None:
    (found,) = mistakes(job("coordinated_lr", {}, {"epochs": "many"}, {"epochs": 4}))
    assert "must be the same" not in found.message


@pytest.mark.parametrize("name", [name for name, component in COMPONENTS.items() if component.agreed])
def test_every_agreed_parameter_exists(name: str) -> None:
    params = COMPONENTS[name].params
    for setting in COMPONENTS[name].agreed:
        first = setting.split(".")[0]
        assert first in params.model_fields or isinstance(getattr(params, first, None), property), setting


def test_whoever_exchanges_says_what_must_agree() -> None:
    said = {name for name, component in COMPONENTS.items() if component.algorithms and component.agreed}
    assert set(INPUTS) <= said
    assert not any(component.agreed for component in COMPONENTS.values() if not component.algorithms)
