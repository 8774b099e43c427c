"""Score credit as a bank and a telephone company would: statistics, binning, selection, two models, evaluation."""

from fate_client.pipeline.components.fate import (
    CoordinatedLR,
    DataSplit,
    Evaluation,
    FeatureScale,
    HeteroFeatureBinning,
    HeteroFeatureSelection,
    HeteroSecureBoost,
    Statistics,
)
from setting import GUEST, META, folder, intersect, new_pipeline, read, tell, upload

upload(folder(), "credit_guest", "credit_host", meta=dict(META, label_name="default"))
pipeline = new_pipeline()
pipeline.conf.set("cores", 2)
reader = read("reader_0", "credit_guest", "credit_host")
psi = intersect(reader)
split = DataSplit("data_split_0", train_size=0.7, test_size=0.3, random_state=42, input_data=psi.outputs["output_data"])
train, test = split.outputs["train_output_data"], split.outputs["test_output_data"]
described = Statistics("statistics_0", metrics=["mean", "std", "missing_ratio"], input_data=train)
binned = HeteroFeatureBinning("binning_0", method="quantile", n_bins=6, transform_method="woe", train_data=train)
binned_test = HeteroFeatureBinning("binning_1", test_data=test, input_model=binned.outputs["output_model"])
selected = HeteroFeatureSelection(
    "selection_0",
    method=["statistics", "iv"],
    statistic_param={
        "metrics": ["missing_ratio"], "filter_type": ["threshold"], "threshold": [0.5], "take_high": [False],
    },
    iv_param={"metrics": ["iv"], "filter_type": ["threshold"], "threshold": [0.1]},
    train_data=binned.outputs["train_output_data"],
    input_models=[described.outputs["output_model"], binned.outputs["output_model"]],
)  # fmt: skip
selected_test = HeteroFeatureSelection(
    "selection_1",
    test_data=binned_test.outputs["test_output_data"],
    input_model=selected.outputs["train_output_model"],
)
scaled = FeatureScale("scale_0", method="standard", train_data=selected.outputs["train_output_data"])
scaled_test = FeatureScale(
    "scale_1", test_data=selected_test.outputs["test_output_data"], input_model=scaled.outputs["output_model"]
)
rows = {
    "train_data": scaled.outputs["train_output_data"],
    "validate_data": scaled_test.outputs["test_output_data"],
}
lr = CoordinatedLR(
    "lr_0",
    epochs=4,
    batch_size=None,
    optimizer={"method": "sgd", "optimizer_params": {"lr": 1.0}, "penalty": "l2", "alpha": 0.001},
    init_param={"fit_intercept": True, "method": "zeros"},
    **rows,
)
boosted = HeteroSecureBoost("sbt_0", num_trees=2, max_depth=3, max_bin=8, objective="binary:bce", **rows)
judged = Evaluation(
    "evaluation_0",
    runtime_parties={"guest": GUEST},
    default_eval_setting="binary",
    metrics=["auc", "ks"],
    input_datas=[lr.outputs["train_output_data"], boosted.outputs["train_output_data"]],
)
pipeline.add_tasks(
    [
        *(reader, psi, split, described, binned, binned_test, selected, selected_test),
        *(scaled, scaled_test, lr, boosted, judged),
    ]
)
pipeline.compile()
pipeline.fit()
tell(
    binning=pipeline.get_task_info("binning_0").get_output_model(),
    columns=list(pipeline.get_task_info("selection_0").get_output_data()["train_output_data"].columns),
    judged=pipeline.get_task_info("evaluation_0").get_output_metric(),
)
