"""Fit scalers on the training rows and apply them to others, in the pipeline and after deploying it."""

from fate_client.pipeline.components.fate import DataSplit, FeatureScale
from setting import intersect, new_pipeline, read, tell

pipeline = new_pipeline()
reader = read()
psi = intersect(reader)
split = DataSplit("data_split_0", train_size=0.8, test_size=0.2, input_data=psi.outputs["output_data"])
fitted = FeatureScale("scale_0", method="standard", train_data=split.outputs["train_output_data"])
applied = FeatureScale(
    "scale_1", test_data=split.outputs["test_output_data"], input_model=fitted.outputs["output_model"]
)
ranged = FeatureScale(
    "scale_2",
    method="min_max",
    feature_range=[-1, 1],
    scale_col=["x0", "x1"],
    train_data=split.outputs["train_output_data"],
)
pipeline.add_tasks([reader, psi, split, fitted, applied, ranged])
pipeline.compile()
pipeline.fit()
table = pipeline.get_task_info("scale_0").get_output_data()["train_output_data"]
bounded = pipeline.get_task_info("scale_2").get_output_data()["train_output_data"]
pipeline.deploy([psi, fitted])
predict = new_pipeline()
deployed = pipeline.get_deployed_pipeline()
again = read("reader_1")
deployed.psi_0.input_data = again.outputs["output_data"]
predict.add_tasks([again, deployed])
predict.compile()
predict.predict()
scaled = predict.get_task_info("scale_0").get_output_data()
tell(
    mean=float(table["x0"].mean()),
    std=float(table["x0"].std(ddof=0)),
    range=[float(bounded["x0"].min()), float(bounded["x0"].max())],
    untouched=[float(bounded["x2"].mean()), float(bounded["x2"].std())],
    model=pipeline.get_task_info("scale_0").get_output_model(),
    predicted={port: len(found) for port, found in scaled.items()},
)
