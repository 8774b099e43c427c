"""Choose columns of both parties by information value, statistics and by hand; predict with the same columns."""

from fate_client.pipeline.components.fate import HeteroFeatureBinning, HeteroFeatureSelection, Statistics
from setting import intersect, new_pipeline, read, tell

pipeline = new_pipeline()
reader = read()
psi = intersect(reader)
data = psi.outputs["output_data"]
binning = HeteroFeatureBinning("binning_0", method="quantile", n_bins=10, train_data=data)
statistics = Statistics("statistics_0", input_data=data, metrics=["mean", "min", "25%"])
chosen = HeteroFeatureSelection(
    "selection_0",
    method=["manual", "iv", "statistics"],
    train_data=data,
    input_models=[binning.outputs["output_model"], statistics.outputs["output_model"]],
    iv_param={"metrics": "iv", "filter_type": "top_k", "threshold": 4},
    statistic_param={"metrics": ["mean"], "filter_type": "threshold", "threshold": -9, "take_high": True},
    manual_param={"filter_out_col": ["x0"]},
    keep_one=True,
)
pipeline.add_tasks([reader, psi, binning, statistics, chosen])
pipeline.compile()
pipeline.fit()
info = pipeline.get_task_info("selection_0")
pipeline.deploy([psi, chosen])
predict = new_pipeline()
deployed = pipeline.get_deployed_pipeline()
again = read("reader_1")
deployed.psi_0.input_data = again.outputs["output_data"]
predict.add_tasks([again, deployed])
predict.compile()
predict.predict()
tell(
    columns=[name for name in info.get_output_data()["train_output_data"].columns if name.startswith("x")],
    model=info.get_output_model()["train_output_model"]["data"],
    predicted=[
        name
        for name in predict.get_task_info("selection_0").get_output_data()["test_output_data"].columns
        if name.startswith("x")
    ],
)
