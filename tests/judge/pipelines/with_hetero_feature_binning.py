"""Bin the columns of both parties and weigh them; transform, and predict with the deployed bins."""

from fate_client.pipeline.components.fate import HeteroFeatureBinning
from setting import intersect, new_pipeline, read, tell

pipeline = new_pipeline()
reader = read()
psi = intersect(reader)
data = psi.outputs["output_data"]
quantile = HeteroFeatureBinning(
    "binning_0", method="quantile", n_bins=10, transform_method="woe", relative_error=1e-3, train_data=data
)
bucket = HeteroFeatureBinning(
    "binning_1",
    method="bucket",
    n_bins=5,
    bin_col=["x0", "x1"],
    category_col=["x2"],
    transform_method="bin_idx",
    skip_metrics=True,
    train_data=data,
)
manual = HeteroFeatureBinning(
    "binning_2", method="manual", local_only=True, transform_method="bin_idx", train_data=data
)
manual.guest.task_parameters(split_pt_dict={"x0": [-1, 0, 1]}, bin_col=["x0"])
manual.hosts[0].task_parameters(split_pt_dict={"x3": [0.5]}, bin_col=["x3"])
applied = HeteroFeatureBinning(
    "binning_3", transform_method="bin_idx", test_data=data, input_model=bucket.outputs["output_model"]
)
pipeline.add_tasks([reader, psi, quantile, bucket, manual, applied])
pipeline.compile()
pipeline.fit()
weighed = pipeline.get_task_info("binning_0")
numbers = pipeline.get_task_info("binning_1").get_output_data()["train_output_data"]
by_hand = pipeline.get_task_info("binning_2").get_output_data()["train_output_data"]
pipeline.deploy([psi, quantile])
predict = new_pipeline()
deployed = pipeline.get_deployed_pipeline()
again = read("reader_1")
deployed.psi_0.input_data = again.outputs["output_data"]
predict.add_tasks([again, deployed])
predict.compile()
predict.predict()
tell(
    model=weighed.get_output_model()["output_model"],
    woe=weighed.get_output_data()["train_output_data"]["x0"].nunique(),
    numbers=sorted(numbers["x0"].unique().tolist()),
    by_hand=sorted(by_hand["x0"].unique().tolist()),
    rows=len(pipeline.get_task_info("binning_3").get_output_data()["test_output_data"]),
    predicted=predict.get_task_info("binning_0").get_output_data()["test_output_data"]["x0"].nunique(),
)
