"""Train a vertical logistic regression, judge it, deploy it, keep it in a file, load it and predict with it."""

from fate_client.pipeline import FateFlowPipeline
from fate_client.pipeline.components.fate import CoordinatedLR, DataSplit, Evaluation
from setting import GUEST, folder, intersect, new_pipeline, read, tell

pipeline = new_pipeline()
pipeline.conf.set("cores", 2)
reader = read()
psi = intersect(reader)
split = DataSplit("data_split_0", train_size=0.8, test_size=0.2, stratified=True, input_data=psi.outputs["output_data"])
lr = CoordinatedLR(
    "lr_0",
    epochs=4,
    batch_size=None,
    early_stop="diff",
    optimizer={"method": "SGD", "optimizer_params": {"lr": 0.3}, "penalty": "l2", "alpha": 0.001},
    init_param={"fit_intercept": True, "method": "zeros"},
    learning_rate_scheduler={"method": "constant", "scheduler_params": {"factor": 1.0, "total_iters": 100}},
    train_data=split.outputs["train_output_data"],
    validate_data=split.outputs["test_output_data"],
)
judged = Evaluation(
    "evaluation_0",
    runtime_parties={"guest": GUEST},
    default_eval_setting="binary",
    metrics=["auc", "ks"],
    input_datas=[lr.outputs["train_output_data"]],
)
pipeline.add_tasks([reader, psi, split, lr, judged])
pipeline.compile()
pipeline.fit()
trained = pipeline.get_task_info("lr_0")
pipeline.deploy([psi, lr])
kept = f"{folder()}/pipeline.bin"
pipeline.dump_model(kept)

loaded = FateFlowPipeline.load_model(kept)
deployed = loaded.get_deployed_pipeline()
predict = new_pipeline()
again = read("reader_1")
deployed.psi_0.input_data = again.outputs["output_data"]
predict.add_tasks([again, deployed])
predict.compile()
predict.predict()
scores = predict.get_task_info("lr_0").get_output_data()["test_output_data"]
tell(
    model=trained.get_output_model(),
    metric=trained.get_output_metric(),
    judged=pipeline.get_task_info("evaluation_0").get_output_metric(),
    train_columns=list(trained.get_output_data()["train_output_data"].columns),
    columns=list(scores.columns),
    rows=len(scores),
    detail=scores["predict_detail"].iloc[0],
)
