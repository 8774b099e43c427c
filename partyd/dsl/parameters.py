"""The parameters of FATE 1.x's modules, a rule for each, and the values that 1.x takes where a job says nothing."""

from __future__ import annotations

from collections.abc import Mapping

from partyd.components.base import JsonObject
from partyd.dsl.rules import By, Inside, Left, Rule, To

SAME_RESULT = "has no effect here; the result is the same"
SKIPPED = "a task that is not to run is left out of a job here; this one runs"
COLUMNS = "the columns are named otherwise here; every column is used"
HOW_IT_RUNS: Mapping[str, Rule] = {"need_run": Left(SKIPPED, (True, None))}


def _columns(value: object, out: JsonObject, name: str) -> str:
    if value not in (-1, None, []):
        out[name] = value
    return ""


def columns(name: str) -> By:
    """Return the rule for a list of columns, where -1 and nothing mean all."""
    return By(lambda value, out: _columns(value, out, name))


def _batch(value: object, out: JsonObject) -> str:
    out["batch_size"] = None if value == -1 else value
    return ""


def _optimizer(value: object, out: JsonObject) -> str:
    name = value.lower() if isinstance(value, str) else "sgd"
    optimizer = out.setdefault("optimizer", {})
    if name == "nesterov_momentum_sgd":
        optimizer["method"] = "sgd"
        optimizer.setdefault("optimizer_params", {}).update(momentum=0.9, nesterov=True)
        return ""
    if name == "sqn":
        optimizer["method"] = "adam"
        return "there is no quasi-Newton optimizer; adam takes its place, so more epochs may be needed"
    optimizer["method"] = name
    return ""


def _frac(value: object, out: JsonObject) -> str:
    pairs = value if isinstance(value, list) else []
    if value is not None and not isinstance(value, int | float | list):
        return "a share or a list of [label, share] is expected; it is left out"
    out["frac"] = {str(p[0]): p[1] for p in pairs if isinstance(p, list) and len(p) == 2} if pairs else value
    return ""


def _intersect_method(value: object, out: JsonObject) -> str:
    method = value.lower() if isinstance(value, str) else "ecdh"
    if method == "rsa" and not out.get("cardinality_only"):
        out["protocol"] = "rsa_psi"
    if method in ("rsa", "ecdh"):
        return ""
    return "the parties intersect by ECDH on curve25519; the result is the same"


def _intersect_key(value: object, out: JsonObject) -> str:
    bits = value if isinstance(value, int) else 0
    out["rsa_params"] = {"key_length": max(bits, 2048)}
    return "" if bits >= 2048 else "keys of 2048 bits are the shortest here"


def _cardinality_only(value: object, out: JsonObject) -> str:
    out["cardinality_only"] = value
    if value is True:
        out.pop("protocol", None)  # 1.x too counts by ECDH, whatever intersect_method says
    return ""


def _metrics(value: object, out: JsonObject) -> str:
    names = {"variance": "var", "stddev": "std", "minimum": "min", "maximum": "max"}
    names["coefficient_of_variance"] = "coefficient_of_variation"
    if value == "summary":
        value = ["sum", "mean", "std", "median", "min", "max", "missing_ratio", "missing_count", "skewness", "kurtosis"]
        value.append("coefficient_of_variation")
    listed = value if isinstance(value, list) else [value]
    out["metrics"] = [names.get(v, v) if isinstance(v, str) else v for v in listed]
    return ""


def _criterion(value: object, out: JsonObject) -> str:
    if isinstance(value, list) and len(value) == 2:
        out["l2"], out["l1"] = value
        return ""
    return "a list of two numbers is expected; the component's own penalties are used"


def _objective(value: object, out: JsonObject) -> str:
    names = {"cross_entropy": "binary:bce", "lse": "regression:l2", "lae": "regression:l1"}
    names |= {name: f"regression:{name}" for name in ("huber", "fair", "log_cosh", "tweedie")}
    if isinstance(value, str) and value.lower() in names:
        out["objective"] = names[value.lower()]
        return ""
    return "this loss has no counterpart; the component's own objective is used, and the trees differ"


def _shape(value: object, out: JsonObject) -> str:
    if value is None or value == []:
        return ""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], int | float):
        out["objective_shape"] = float(value[0])
        return ""
    return "one number is expected; the loss takes its own"


ENCRYPTION: Mapping[str, Rule] = {
    "encrypt_param": Inside(
        {"method": To(("he_param", "kind"), {"paillier": "paillier"}), "key_length": To(("he_param", "key_length"))}
    ),
    "encrypted_mode_calculator_param": Left("every ciphertext is made anew here; " + SAME_RESULT),
}
CROSS_VALIDATION: Mapping[str, Rule] = {
    "cv_param": Inside(
        {
            "n_splits": To(("cv_param", "n_splits")),
            "shuffle": To(("cv_param", "shuffle")),
            "random_seed": To(("cv_param", "random_state")),
            "need_cv": Left(SAME_RESULT, (True, False, None)),
            "output_fold_history": To(("output_cv_data",)),
            "history_value_type": Left(SAME_RESULT),
        }
    ),
}
TRAINING: Mapping[str, Rule] = {
    "max_iter": To(("epochs",)),
    "batch_size": By(_batch),
    "tol": To(("tol",)),
    "early_stop": To(("early_stop",)),
    "init_param": Inside(
        {
            "init_method": To(("init_param", "method")),
            "init_const": To(("init_param", "fill_val")),
            "fit_intercept": To(("init_param", "fit_intercept")),
            "random_seed": To(("init_param", "random_state")),
        }
    ),
    "decay": Left("the learning rate stays as it is here instead of being lowered from epoch to epoch", (0, None)),
    "decay_sqrt": Left(SAME_RESULT, (True, False, None)),
    "predict_param": Inside({"threshold": To(("threshold",))}),
    "multi_class": Left("several classes are trained one against the rest", ("ovr", None)),
    "validation_freqs": Left("validation rows are scored once, with the final model"),
    "early_stopping_rounds": Left("the validation score does not stop the training; early_stop and tol do"),
    "metrics": Left("every metric is computed", (None, [])),
    "use_first_metric_only": Left(SAME_RESULT),
    "callback_param": Left("there are no callbacks: no early stop by validation score, no metrics on the way"),
    "batch_strategy": Left("the rows of a batch are drawn once and are the same in every epoch", ("full", None)),
    "shuffle": Left(SAME_RESULT, (True, False, None)),
    "masked_rate": Left(SAME_RESULT, (None, 5)),
    "stepwise_param": Left("columns are not chosen step by step: all are trained"),
    "sqn_param": Left("there is no quasi-Newton optimizer; these settings are of no use"),
    **HOW_IT_RUNS,
}
WITH_OPTIMIZER: Mapping[str, Rule] = {
    "optimizer": By(_optimizer),
    "learning_rate": To(("optimizer", "optimizer_params", "lr")),
    "alpha": To(("optimizer", "alpha")),
    "penalty": To(("optimizer", "penalty"), {"l2": "l2", "l1": "l1", "none": "none", None: "none"}),
}
COORDINATED: Mapping[str, Rule] = {
    **TRAINING,
    **WITH_OPTIMIZER,
    **ENCRYPTION,
    **CROSS_VALIDATION,
    "floating_point_precision": To(("floating_point_precision",)),
}
COORDINATED_NUMBERS: Mapping[str, Rule] = {
    **COORDINATED,
    "predict_param": Left("a number that is predicted has no threshold; " + SAME_RESULT),
    "multi_class": Left("a number that is predicted has no classes; " + SAME_RESULT),
}
COORDINATED_COUNTS: Mapping[str, Rule] = {**COORDINATED_NUMBERS, "exposure_colname": To(("exposure_colname",))}
GRADIENT_DEFAULTS: Mapping[str, object] = {
    "max_iter": 100,
    "optimizer": "rmsprop",
    "learning_rate": 0.01,
    "alpha": 1.0,
    "penalty": "L2",
    "tol": 1e-4,
    "early_stop": "diff",
    "init_param": {"init_method": "random_uniform"},
}
DECAYS = "1.x lowers the learning rate from epoch to epoch unless decay is 0; here it stays as it is"
SSHE: Mapping[str, Rule] = {
    **TRAINING,
    **CROSS_VALIDATION,
    "learning_rate": To(("learning_rate",)),
    "reveal_every_iter": To(("reveal_every_epoch",)),
    "reveal_strategy": Left("weights are revealed to the party that they belong to", ("respectively", None)),
    "optimizer": Left("plain gradient descent is used; the path of the training differs", ("sgd", None)),
    "alpha": Left("there is no penalty on the weights; they come out larger", (0, 0.0, None)),
    "penalty": Left("there is no penalty on the weights; they come out larger", (None, "none")),
    "use_mix_rand": Left(SAME_RESULT),
    **ENCRYPTION,
}
SSHE_DEFAULTS: Mapping[str, object] = {"max_iter": 100, "learning_rate": 0.01, "tol": 1e-4, "early_stop": "diff"}
SCHEMA = "what the columns of a table are is said once, when it is uploaded; check it with the table's own schema"
FILLED = "values are not filled in or replaced on the way into a job; mend the table before it is uploaded"
AT_UPLOAD: Mapping[str, Rule] = {
    **{
        name: Left(SCHEMA, (None,))
        for name in (
            *("input_format", "delimitor", "data_type", "exclusive_data_type", "tag_with_value", "tag_value_delimitor"),
            *("with_label", "label_name", "label_type", "output_format", "with_match_id", "match_id_name"),
            *("match_id_index", "default_value"),
        )
    },
    **{
        name: Left(FILLED)
        for name in (
            *("missing_fill", "missing_fill_method", "missing_impute", "outlier_replace", "outlier_replace_method"),
            *("outlier_impute", "outlier_replace_value"),
        )
    },
    **HOW_IT_RUNS,
}
PSI: Mapping[str, Rule] = {
    "intersect_method": By(_intersect_method),
    "rsa_params": Inside(
        {
            "key_length": By(_intersect_key),
            **{
                name: Left(SAME_RESULT, (None, False, ""))
                for name in ("salt", "hash_method", "final_hash_method", "split_calculation", "random_base_fraction")
            },
            "random_bit": Left("ids are hidden by numbers as long as the key", (None,)),
        }
    ),
    **{name: Left(SAME_RESULT) for name in ("dh_params", "ecdh_params", "raw_params", "random_bit")},
    **{
        name: Left(SAME_RESULT)
        for name in ("run_cache", "intersect_cache_param", "run_preprocess", "intersect_preprocess_params")
    },
    "sync_intersect_ids": To(("sync_intersect_ids",)),
    "join_role": Left("the guest gets the result, as in 1.x with every method but raw", ("guest", None)),
    "join_method": To(("join_method",)),
    "only_output_key": To(("only_output_key",)),
    "cardinality_only": By(_cardinality_only),
    "sync_cardinality": To(("sync_cardinality",)),
    "cardinality_method": Left(SAME_RESULT, ("ecdh", None)),
    "repeated_id_process": Left("of rows that share an id the first is kept"),
    "repeated_id_owner": Left(SAME_RESULT, ("guest", None)),
    "with_sample_id": Left("of rows that share an id the first is kept"),
    "sample_id_generator": Left(SAME_RESULT, ("guest", None)),
    "allow_info_share": Left("no party is told about columns of another"),
    "info_owner": Left(SAME_RESULT, ("guest", None)),
    "encode_params": Left("ids are hashed to the curve; " + SAME_RESULT),
    "new_sample_id": Left("sample ids stay as they were uploaded"),
    **HOW_IT_RUNS,
}
SPLIT: Mapping[str, Rule] = {
    **{name: To((name,)) for name in ("train_size", "validate_size", "test_size", "random_state", "stratified")},
    "shuffle": Left("rows are always drawn at random", (True, None)),
    "split_points": Left("a target with many values is not cut into strata", (None, [])),
    **HOW_IT_RUNS,
}
SCALE: Mapping[str, Rule] = {
    "method": To(("method",), {"standard_scale": "standard", "min_max_scale": "min_max"}),
    "mode": To(("mode",)),
    "scale_col_indexes": columns("scale_idx"),
    "scale_names": columns("scale_col"),
    **{name: To((name,)) for name in ("feat_upper", "feat_lower", "with_mean", "with_std")},
    **HOW_IT_RUNS,
}
STATISTICS: Mapping[str, Rule] = {
    "statistics": By(_metrics),
    "bias": To(("bias",)),
    "quantile_error": To(("relative_error",)),
    "column_indexes": Left(COLUMNS, (-1, None)),
    "column_names": Left(COLUMNS, (None, [])),
    "abnormal_list": Left("no value is left out of the statistics", (None, [])),
    **HOW_IT_RUNS,
}
SAMPLE: Mapping[str, Rule] = {
    "fractions": By(_frac),
    "random_state": To(("random_state",)),
    "method": To(("replace",), {"downsample": False, "upsample": True}),
    "task_type": To(("hetero_sync",), {"hetero": True, "homo": False}),
    "mode": Left("rows are drawn by the shares given, not by their weights", ("random", "stratified", None)),
    **HOW_IT_RUNS,
}
UNION: Mapping[str, Rule] = {
    "allow_missing": Left("tables must have the same columns"),
    "keep_duplicate": To(("keep_duplicate",)),
    **HOW_IT_RUNS,
}
BOOSTING: Mapping[str, Rule] = {
    **{name: To((name,)) for name in ("num_trees", "learning_rate", "complete_secure", "top_rate", "other_rate")},
    "task_type": To(("objective",), {"classification": "binary:bce", "regression": "regression:l2"}),
    "objective_param": Inside({"objective": By(_objective), "params": By(_shape)}),
    "tree_param": Inside(
        {
            **{
                name: To((name,))
                for name in (
                    *("max_depth", "min_sample_split", "min_impurity_split", "min_leaf_node", "min_child_weight"),
                )
            },
            "criterion_params": By(_criterion),
            "criterion_method": Left("splits are judged as xgboost does", ("xgboost", None)),
            "n_iter_no_change": Left("every tree is grown", (True, False, None)),
            "tol": Left("every tree is grown"),
            "feature_importance_type": Left(SAME_RESULT),
        }
    ),
    "bin_num": To(("max_bin",)),
    "run_goss": To(("goss",)),
    "cipher_compress": To(("split_info_pack",)),
    **{name: To((name,)) for name in ("subsample_feature_rate", "n_iter_no_change", "tol", "early_stopping_rounds")},
    "random_seed": Left(SAME_RESULT, (100, None)),
    **{name: To((name,)) for name in ("use_missing", "zero_as_missing", "boosting_strategy", "tree_num_per_party")},
    **{name: To((name,)) for name in ("guest_depth", "host_depth")},
    "work_mode": To(("boosting_strategy",)),
    "multi_mode": Left("a class of its own has its own trees", ("single_output", None)),
    "EINI_inference": Left("prediction never tells hosts a row's path; " + SAME_RESULT),
    "sparse_optimization": Left(SAME_RESULT),
    "new_ver": Left(SAME_RESULT, (True, False, None)),
    "binning_error": Left(SAME_RESULT),
    "cipher_compress_error": Left(SAME_RESULT),
    **{name: TRAINING[name] for name in ("validation_freqs", "metrics")},
    **{name: TRAINING[name] for name in ("use_first_metric_only", "callback_param", "predict_param")},
    **ENCRYPTION,
    **CROSS_VALIDATION,
    **HOW_IT_RUNS,
}
BOOSTING_DEFAULTS: Mapping[str, object] = {
    "num_trees": 5,
    "learning_rate": 0.3,
    "bin_num": 32,
    "n_iter_no_change": True,
    "tree_param": {"max_depth": 3, "criterion_params": [0.1, 0], "min_impurity_split": 1e-3},
}
CORRELATION: Mapping[str, Rule] = {
    "cross_parties": To(("local_only",), {True: False, False: True}),
    "calc_local_vif": To(("calc_local_vif",)),
    "column_indexes": Left(COLUMNS, (-1, None)),
    "column_names": Left(COLUMNS, (None, [])),
    "use_mix_rand": Left(SAME_RESULT),
    **HOW_IT_RUNS,
}
EVALUATION: Mapping[str, Rule] = {
    "eval_type": To(("default_eval_setting",)),
    "metrics": columns("metrics"),
    "pos_label": To(("pos_label",)),
    "unfold_multi_result": To(("unfold_multi_result",)),
    "run_clustering_arbiter_metric": Left("clusters are judged at the guest, by the table that it has"),
    **HOW_IT_RUNS,
}
TOY: Mapping[str, Rule] = {
    "data_num": To(("data_num",)),
    "partition": Left(SAME_RESULT),
    "seed": Left(SAME_RESULT),
    **HOW_IT_RUNS,
}
