from __future__ import annotations

from typing import Any

import pytest

from partyd.dag.spec import read_dag
from partyd.dsl.modules import MODULES, WITHOUT
from partyd.dsl.translate import Translated, read_any, translate
from partyd.errors import JobRejected
from tests.dag.registry import REGISTRY
from tests.dsl.jobs import LR, SUMMARY, G, H, common, conf, dsl, mistakes, node, only, said


def test_a_whole_job_becomes_one_that_read_dag_takes() -> None:
    translated = translate(dsl(), conf())
    spec = read_dag(translated.document, REGISTRY)
    tasks = spec.dag.tasks
    assert {name: task.component_ref for name, task in tasks.items()} == {
        "reader_0": "reader",
        "intersection_0": "psi",
        "split_0": "data_split",
        "scale_0": "feature_scale",
        "scale_1": "feature_scale",
        "binning_0": "hetero_feature_binning",
        "selection_0": "hetero_feature_selection",
        "lr_0": "coordinated_lr",
        "lr_1": "coordinated_lr",
        "evaluation_0": "evaluation",
    }
    assert [str(a) for a in spec.dag.addresses()] == ["9999/guest", "10000/host", "10000/arbiter"]
    assert spec.dag.parameters("reader_0", G) == {"namespace": "experiment", "name": "g"}
    assert spec.dag.parameters("reader_0", H) == {"namespace": "experiment", "name": "h"}
    assert {name: spec.dag.stage_of(name) for name in ("scale_0", "scale_1", "lr_0", "lr_1")} == {
        "scale_0": "train",
        "scale_1": "predict",
        "lr_0": "train",
        "lr_1": "predict",
    }
    assert (spec.dag.conf.task_parallelism, spec.dag.conf.computing_partitions) == (2, 8)


def sources(translated: Translated, task: str) -> dict[str, list[str]]:
    inputs = translated.document["dag"]["tasks"][task]["inputs"]
    found = {}
    for port, artifact in (inputs["data"] | inputs["model"]).items():
        listed = artifact["task_output_artifact"]
        listed = listed if isinstance(listed, list) else [listed]
        found[port] = [f"{s['producer_task']}.{s['output_artifact_key']}" for s in listed]
    return found


def test_inputs_are_connected_as_before() -> None:
    translated = translate(dsl(), conf())
    assert sources(translated, "intersection_0") == {"input_data": ["reader_0.output_data"]}
    assert sources(translated, "scale_0") == {"train_data": ["split_0.train_output_data"]}
    assert sources(translated, "scale_1") == {
        "test_data": ["split_0.test_output_data"],
        "input_model": ["scale_0.output_model"],
    }
    assert sources(translated, "selection_0") == {
        "train_data": ["binning_0.train_output_data"],
        "input_models": ["binning_0.output_model"],
    }
    assert sources(translated, "lr_0") == {
        "train_data": ["selection_0.train_output_data"],
        "validate_data": ["scale_1.test_output_data"],
    }
    assert sources(translated, "evaluation_0") == {"input_datas": ["lr_0.train_output_data", "lr_1.test_output_data"]}


def test_the_parameters_of_a_regression_mean_the_same() -> None:
    parameters = translate(dsl(), conf()).document["dag"]["tasks"]["lr_0"]["parameters"]
    assert parameters == {
        "epochs": 3,
        "batch_size": None,
        "optimizer": {
            "method": "sgd",
            "penalty": "l2",
            "alpha": 0.01,
            "optimizer_params": {"lr": 0.15, "momentum": 0.9, "nesterov": True},
        },
        "tol": 1e-4,
        "early_stop": "diff",
        "init_param": {"method": "zeros", "fit_intercept": True},
        "he_param": {"kind": "paillier", "key_length": 2048},
        "cv_param": {"n_splits": 5, "shuffle": False, "random_state": 103},
    }


def test_what_1x_takes_unsaid_is_written_out_and_what_it_does_besides_is_noted() -> None:
    translated = translate(dsl(), common())
    parameters = translated.document["dag"]["tasks"]["lr_0"]["parameters"]
    assert (parameters["epochs"], parameters["optimizer"]["method"]) == (100, "rmsprop")
    assert "1.x lowers the learning rate" in said(translated)["dsl.components.lr_0"]
    assert "dsl.components.lr_1" not in said(translated)


@pytest.mark.parametrize(
    ("module", "given", "expected", "noted"),
    [
        (
            "Intersection",
            {"intersect_method": "RSA", "sync_intersect_ids": False, "rsa_params": {"key_length": 1024, "salt": "1"}},
            {"protocol": "rsa_psi", "sync_intersect_ids": False, "rsa_params": {"key_length": 2048}},
            {"rsa_params.key_length", "rsa_params.salt"},
        ),
        (
            "Intersection",
            {"intersect_method": "raw", "join_method": "left_join", "join_role": "host", "only_output_key": True},
            {"join_method": "left_join", "only_output_key": True},
            {"intersect_method", "join_role"},
        ),
        (
            "Intersection",
            {"intersect_method": "rsa", "cardinality_only": True, "sync_cardinality": True},
            {"cardinality_only": True, "sync_cardinality": True},
            set(),
        ),
        (
            "HomoDataSplit",
            {"test_size": 0.3, "stratified": True, "split_points": [0.5], "shuffle": True},
            {"test_size": 0.3, "stratified": True, "hetero_sync": False},
            {"split_points"},
        ),
        (
            "FederatedSample",
            {"mode": "stratified", "method": "upsample", "fractions": [[0, 0.3], [1, 0.5]], "task_type": "homo"},
            {"frac": {"0": 0.3, "1": 0.5}, "replace": True, "hetero_sync": False},
            set(),
        ),
        ("FederatedSample", {"mode": "exact_by_weight"}, {}, {"mode"}),
        (
            "FeatureScale",
            {"method": "min_max_scale", "scale_col_indexes": -1, "scale_names": ["x0"], "feat_upper": [2]},
            {"method": "min_max", "scale_col": ["x0"], "feat_upper": [2]},
            set(),
        ),
        (
            "DataStatistics",
            {"statistics": ["count", "stddev", "95%"], "column_indexes": [1], "quantile_error": 0.01},
            {"metrics": ["count", "std", "95%"], "relative_error": 0.01},
            {"column_indexes"},
        ),
        (
            "HeteroFeatureBinning",
            {"method": "bucket", "bin_num": 5, "bin_indexes": [1], "transform_param": {"transform_type": "woe"}},
            {"method": "bucket", "n_bins": 5, "bin_idx": [1], "transform_method": "woe"},
            set(),
        ),
        (
            "HeteroFeatureSelection",
            {"filter_methods": ["iv_filter", "psi_filter"], "iv_param": {"threshold": [0.1]}, "psi_param": {"x": 1}},
            {"method": ["iv"], "iv_param": {"threshold": [0.1]}},
            {"filter_methods", "psi_param"},
        ),
        (
            "HeteroSecureBoost",
            {
                "task_type": "classification",
                "objective_param": {"objective": "cross_entropy"},
                "num_trees": 3,
                "tree_param": {"max_depth": 4},
                "run_goss": True,
                "use_missing": True,
                "sparse_optimization": True,
            },
            {
                "objective": "binary:bce",
                "num_trees": 3,
                "max_depth": 4,
                "goss": True,
                "learning_rate": 0.3,
                "max_bin": 32,
                "l2": 0.1,
                "l1": 0,
                "min_impurity_split": 1e-3,
                "use_missing": True,
                "n_iter_no_change": True,
            },
            {"sparse_optimization"},
        ),
        (
            "HeteroFastSecureBoost",
            {
                "task_type": "regression",
                "objective_param": {"objective": "huber", "params": [1.5]},
                "work_mode": "mix",
                "tree_num_per_party": 2,
            },
            {
                "objective": "regression:huber",
                "objective_shape": 1.5,
                "boosting_strategy": "mix",
                "tree_num_per_party": 2,
            },
            set(),
        ),
        ("DataStatistics", {}, {"metrics": SUMMARY}, set()),
        ("FederatedSample", {"fractions": "half"}, {}, {"fractions"}),
        (
            "HeteroSecureBoost",
            {"objective_param": {"objective": "poisson", "params": "x"}, "tree_param": {"criterion_params": 1}},
            {},
            {"objective_param.objective", "objective_param.params", "tree_param.criterion_params"},
        ),
        ("HeteroPearson", {"cross_parties": False}, {"local_only": True}, set()),
        ("HeteroLR", {"optimizer": "sqn", "nonsense": 1}, {}, {"optimizer", "nonsense"}),
        (
            "HeteroLinR",
            {"learning_rate": 0.13, "batch_size": 100, "predict_param": {"threshold": 0.5}},
            {"epochs": 20, "batch_size": 100},
            {"predict_param"},
        ),
        (
            "HeteroPoisson",
            {"exposure_colname": "exposure", "max_iter": 6, "penalty": "L1"},
            {"exposure_colname": "exposure", "epochs": 6, "early_stop": "diff"},
            set(),
        ),
        ("HeteroSSHELR", {"penalty": "L2", "max_iter": 5, "reveal_every_iter": True}, {}, {"penalty"}),
        ("HomoLR", {"aggregate_iters": 2}, {"aggregate_iters": 2, "batch_size": -1, "early_stop": "diff"}, set()),
        ("HomoLR", {"encrypt_param": {"method": "Paillier"}, "mu": 0.2}, {"mu": 0.2}, {"encrypt_param"}),
    ],
)
def test_parameters_with_a_counterpart_are_kept_and_others_noted(
    module: str, given: dict[str, Any], expected: dict[str, Any], noted: set[str]
) -> None:
    parameters, notes = only(module, given)
    assert {name: parameters[name] for name in expected} == expected
    assert set(notes) == noted
    assert all(len(note) > 20 for note in notes.values())


def test_a_party_sets_only_what_differs() -> None:
    made = conf()
    made["component_parameters"]["role"]["host"]["0"] = {"lr_0": {"learning_rate": 0.3, "metrics": ["auc"]}}
    translated = translate(dsl(), made)
    groups = translated.document["dag"]["party_tasks"]
    own = groups["host_10000"]["tasks"]["lr_0"]["parameters"]
    assert own == {
        "optimizer": {
            "method": "sgd",
            "penalty": "l2",
            "alpha": 0.01,
            "optimizer_params": {"lr": 0.3, "momentum": 0.9, "nesterov": True},
        }
    }
    assert groups["host_10000"]["parties"] == [{"role": "host", "party_id": ["10000"]}]
    assert "conf.component_parameters.role.host.0.lr_0.metrics" in said(translated)


def test_what_a_transform_says_of_columns_is_noted() -> None:
    made = conf()
    made["component_parameters"]["common"]["transform_0"] = {"label_name": "y", "missing_fill": True}
    made["component_parameters"]["role"]["guest"]["0"]["transform_0"] = {"with_label": True}
    notes = said(translate(dsl(), made))
    assert "uploaded" in notes["conf.component_parameters.common.transform_0.label_name"]
    assert "not filled in" in notes["conf.component_parameters.common.transform_0.missing_fill"]
    assert "conf.component_parameters.role.guest.0.transform_0.with_label" in notes


def test_cross_validation_is_a_stage() -> None:
    made = common(lr_0=LR | {"cv_param": {"need_cv": True, "n_splits": 3}})
    task = translate(dsl(), made).document["dag"]["tasks"]["lr_0"]
    assert task["stage"] == "cross_validation"
    assert "cv_data" in task["inputs"]["data"]
    assert task["parameters"]["cv_param"] == {"n_splits": 3}


def test_the_first_steps_tree_and_toy_run_too() -> None:
    components = {
        "secure_add_example_0": {"module": "SecureAddExample"},
        "reader_0": {"module": "Reader", "output": {"data": ["t"]}},
        "union_0": {
            "module": "Union",
            "input": {"data": {"data": ["reader_0.t", "reader_0.t"]}},
            "output": {"data": ["u"]},
        },
    }
    made = conf()
    made["component_parameters"]["common"] = {"secure_add_example_0": {"data_num": 10, "seed": 3}}
    spec, notes = read_any({"dsl": {"components": components}, "conf": made}, REGISTRY)
    assert spec.dag.parameters("secure_add_example_0", G) == {"data_num": 10}
    assert [note.path for note in notes] == ["conf.component_parameters.common.secure_add_example_0.seed"]


def predict_conf() -> dict[str, Any]:
    made = conf()
    made["job_parameters"]["common"] = {"job_type": "predict", "model_id": "m", "model_version": 7}
    made["component_parameters"]["common"] = {}
    return made


def test_a_prediction_reads_its_models_from_the_registry() -> None:
    made = dsl()["components"]
    del made["lr_1"], made["scale_1"], made["split_0"]
    made["scale_0"]["input"]["data"]["data"] = ["intersection_0.train"]
    del made["lr_0"]["input"]["data"]["validate_data"]
    made["lr_0"]["input"]["model"] = ["pipeline.hetero_lr_7.m"]
    made["evaluation_0"]["input"]["data"]["data"] = ["lr_0.out"]
    spec, notes = read_any({"job_dsl": {"components": made}, "job_runtime_conf": predict_conf()}, REGISTRY)
    assert spec.dag.stage == "predict"
    assert spec.dag.conf.model_warehouse.model_id == "m"
    assert spec.dag.conf.model_warehouse.model_version == "7"
    for task, stored, key in (
        ("scale_0", "scale_0", "output_model"),
        ("selection_0", "selection_0", "train_output_model"),
        ("lr_0", "hetero_lr_7", "output_model"),
    ):
        (model,) = spec.dag.tasks[task].inputs.model["input_model"].model_warehouse
        assert (model.producer_task, model.output_artifact_key) == (stored, key)
        assert list(spec.dag.tasks[task].inputs.data) == ["test_data"]
    assert any("1.x trained cannot be read" in note.message for note in notes)


def test_a_prediction_names_its_model() -> None:
    made = predict_conf()
    del made["job_parameters"]["common"]["model_id"]
    assert [m.path for m in mistakes(dsl(), made)] == ["conf.job_parameters.common.model_id"]


def test_a_prediction_without_its_dsl_says_how_to_get_one() -> None:
    with pytest.raises(JobRejected, match=r"dsl: is missing; add the DSL: for a prediction, what flow model get-pred"):
        read_any({"conf": predict_conf()}, REGISTRY)


def test_every_module_without_counterpart_is_named() -> None:
    made = dsl()
    made["components"]["kmeans_0"] = node("HeteroKmeans", "o", train_data="scale_0.out")
    made["components"]["nn_0"] = node("HeteroNN", "o", train_data="scale_0.out")
    made["components"]["lr_9"] = node("HeteroLr", "o", train_data="scale_0.out")
    found = {m.path: m.hint for m in mistakes(made, conf())}
    assert set(found) == {f"dsl.components.{name}.module" for name in ("kmeans_0", "nn_0", "lr_9")}
    assert found["dsl.components.lr_9.module"] == "did you mean 'HeteroLR'?"
    assert "write a DAG with hetero_nn" in found["dsl.components.nn_0.module"]
    assert not set(MODULES) & set(WITHOUT)


@pytest.mark.parametrize("first", [{}, {"dsl_version": 1}, {"dsl_version": "2", "role_parameters": {}}, None, "x"])
def test_the_first_version_of_the_dsl_is_refused_clearly(first: object) -> None:
    (mistake,) = mistakes(dsl(), first)
    if first not in (None, "x"):
        assert mistake.path == "conf.dsl_version"
        assert "only DSL version 2" in mistake.message
