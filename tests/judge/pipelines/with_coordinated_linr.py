"""Train a vertical linear regression, judge it, apply it to held-out rows, go on from it, deploy it, and predict."""

from fate_client.pipeline.components.fate import CoordinatedLinR, DataSplit, Evaluation
from setting import GUEST, intersect, new_pipeline, read, tell

pipeline = new_pipeline()
pipeline.conf.set("cores", 2)
reader = read()
psi = intersect(reader)
split = DataSplit("data_split_0", train_size=0.8, test_size=0.2, input_data=psi.outputs["output_data"])
descent = {
    "batch_size": None,
    "early_stop": "weight_diff",
    "optimizer": {"method": "SGD", "optimizer_params": {"lr": 0.05}, "penalty": "l2", "alpha": 0.01},
    "init_param": {"fit_intercept": True, "method": "zeros"},
    "learning_rate_scheduler": {"method": "constant", "scheduler_params": {"factor": 1.0, "total_iters": 100}},
}
linr = CoordinatedLinR(
    "linr_0",
    epochs=3,
    train_data=split.outputs["train_output_data"],
    validate_data=split.outputs["test_output_data"],
    **descent,
)
more = CoordinatedLinR(
    "linr_1",
    epochs=1,
    train_data=split.outputs["train_output_data"],
    warm_start_model=linr.outputs["output_model"],
    **descent,
)
held_out = CoordinatedLinR(
    "linr_2", test_data=split.outputs["test_output_data"], input_model=linr.outputs["output_model"]
)
judged = Evaluation(
    "evaluation_0",
    runtime_parties={"guest": GUEST},
    default_eval_setting="regression",
    input_datas=[linr.outputs["train_output_data"]],
)
pipeline.add_tasks([reader, psi, split, linr, more, held_out, judged])
pipeline.compile()
pipeline.fit()
trained = pipeline.get_task_info("linr_0")
tested = pipeline.get_task_info("linr_2").get_output_data()["test_output_data"]
grown = pipeline.get_task_info("linr_1").get_output_model()
pipeline.deploy([psi, linr])

predict = new_pipeline()
deployed = pipeline.get_deployed_pipeline()
again = read("reader_1")
deployed.psi_0.input_data = again.outputs["output_data"]
predict.add_tasks([again, deployed])
predict.compile()
predict.predict()
scores = predict.get_task_info("linr_0").get_output_data()["test_output_data"]
tell(
    model=trained.get_output_model(),
    grown=grown,
    judged=pipeline.get_task_info("evaluation_0").get_output_metric(),
    columns=list(scores.columns),
    rows=len(scores),
    tested=len(tested),
    detail=scores["predict_detail"].iloc[0],
)
