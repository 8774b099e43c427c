"""A job of FATE 1.x that the tests translate, and shorthands for what comes of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from partyd.dsl.translate import Translated, translate
from partyd.errors import JobRejected, Mistake
from partyd.types import GUEST, HOST, Address

G, H = Address("9999", GUEST), Address("10000", HOST)


def node(module: str, *outputs: str, model: str = "", isometric: str = "", of: str = "", **data: str) -> dict[str, Any]:
    """Return a component that reads the tables ``data`` and the models named, with data outputs and perhaps a model."""
    made: dict[str, Any] = {"module": module, "input": {"data": {key: [value] for key, value in data.items()}}}
    made["output"] = {"data": list(outputs)}
    if model:
        made["output"]["model"] = [model]
    if of:
        made["input"]["model"] = [of]
    if isometric:
        made["input"]["isometric_model"] = [isometric]
    return made


def dsl() -> dict[str, Any]:
    return {
        "components": {
            "reader_0": node("Reader", "table"),
            "transform_0": node("DataTransform", "train", data="reader_0.table", model="t"),
            "intersection_0": node("Intersection", "train", data="transform_0.train"),
            "split_0": node("HeteroDataSplit", "train_data", "validate_data", "test_data", data="intersection_0.train"),
            "scale_0": node("FeatureScale", "out", data="split_0.train_data", model="s"),
            "scale_1": node("FeatureScale", "out", data="split_0.test_data", of="scale_0.s"),
            "binning_0": node("HeteroFeatureBinning", "out", data="scale_0.out", model="b"),
            "selection_0": node(
                "HeteroFeatureSelection", "out", data="binning_0.out", model="s", isometric="binning_0.b"
            ),
            "lr_0": node("HeteroLR", "out", train_data="selection_0.out", validate_data="scale_1.out", model="m"),
            "lr_1": node("HeteroLR", "out", test_data="scale_1.out", of="lr_0.m"),
            "evaluation_0": {
                "module": "Evaluation",
                "input": {"data": {"data": ["lr_0.out", "lr_1.out"]}},
                "output": {"data": ["x"]},
            },
        }
    }


LR = {
    "penalty": "L2",
    "optimizer": "nesterov_momentum_sgd",
    "alpha": 0.01,
    "max_iter": 3,
    "batch_size": -1,
    "learning_rate": 0.15,
    "decay": 0,
    "init_param": {"init_method": "zeros", "fit_intercept": True},
    "encrypt_param": {"method": "Paillier", "key_length": 2048},
    "cv_param": {"n_splits": 5, "shuffle": False, "random_seed": 103, "need_cv": False},
}


SUMMARY = ["sum", "mean", "std", "median", "min", "max", "missing_ratio", "missing_count", "skewness", "kurtosis"]
SUMMARY.append("coefficient_of_variation")


def conf(**changes: Any) -> dict[str, Any]:
    return {
        "dsl_version": "2",
        "initiator": {"role": "guest", "party_id": 9999},
        "role": {"guest": [9999], "host": [10000], "arbiter": [10000]},
        "job_parameters": {"common": {"job_type": "train", "task_parallelism": 2, "computing_partitions": 8}},
        "component_parameters": {
            "common": {"lr_0": copy.deepcopy(LR), "evaluation_0": {"eval_type": "binary"}},
            "role": {
                "guest": {"0": {"reader_0": {"table": {"name": "g", "namespace": "experiment"}}}},
                "host": {"0|1": {"reader_0": {"table": {"name": "h", "namespace": "experiment"}}}},
            },
        },
    } | changes


def common(**parameters: Any) -> dict[str, Any]:
    """Return a conf with these parameters for all parties."""
    made = conf()
    made["component_parameters"]["common"] = parameters
    return made


def mistakes(dsl: object, conf: object) -> list[Mistake]:
    with pytest.raises(JobRejected) as caught:
        translate(dsl, conf)
    assert caught.value.mistakes
    return list(caught.value.mistakes)


def said(translated: Translated) -> dict[str, str]:
    return {note.path: note.message for note in translated.notes}


def only(module: str, parameters: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what becomes of one module's parameters, and the notes by parameter."""
    made = {"components": {"reader_0": node("Reader", "t"), "x_0": node(module, "o", data="reader_0.t")}}
    translated = translate(made, common(x_0=parameters))
    where = "conf.component_parameters.common.x_0."
    notes = {path.removeprefix(where): note for path, note in said(translated).items() if path.startswith(where)}
    return translated.document["dag"]["tasks"]["x_0"]["parameters"], notes
