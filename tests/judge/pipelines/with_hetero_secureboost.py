"""Train boosted trees, judge them, deploy, predict with them, and go on from them."""

from fate_client.pipeline.components.fate import DataSplit, Evaluation, HeteroSecureBoost
from setting import GUEST, intersect, new_pipeline, read, tell

pipeline = new_pipeline()
pipeline.conf.set("cores", 2)
reader = read()
psi = intersect(reader)
split = DataSplit("data_split_0", train_size=0.8, test_size=0.2, stratified=True, input_data=psi.outputs["output_data"])
trees = {
    "max_depth": 3,
    "max_bin": 16,
    "learning_rate": 0.3,
    "objective": "binary:bce",
    "he_param": {"kind": "paillier", "key_length": 1024},
}
boosted = HeteroSecureBoost("sbt_0", num_trees=2, train_data=split.outputs["train_output_data"], **trees)
more = HeteroSecureBoost(
    "sbt_1",
    num_trees=1,
    train_data=split.outputs["train_output_data"],
    warm_start_model=boosted.outputs["output_model"],
    **trees,
)
held_out = HeteroSecureBoost(
    "sbt_2", test_data=split.outputs["test_output_data"], input_model=boosted.outputs["output_model"]
)
judged = Evaluation(
    "evaluation_0",
    runtime_parties={"guest": GUEST},
    default_eval_setting="binary",
    metrics=["auc", "ks"],
    input_datas=[boosted.outputs["train_output_data"]],
)
pipeline.add_tasks([reader, psi, split, boosted, more, held_out, judged])
pipeline.compile()
pipeline.fit()
trained = pipeline.get_task_info("sbt_0")
tested = pipeline.get_task_info("sbt_2").get_output_data()["test_output_data"]
grown = pipeline.get_task_info("sbt_1").get_output_model()
pipeline.deploy([psi, boosted])

predict = new_pipeline()
deployed = pipeline.get_deployed_pipeline()
again = read("reader_1")
deployed.psi_0.input_data = again.outputs["output_data"]
predict.add_tasks([again, deployed])
predict.compile()
predict.predict()
scores = predict.get_task_info("sbt_0").get_output_data()["test_output_data"]
tell(
    model=trained.get_output_model(),
    grown=grown,
    judged=pipeline.get_task_info("evaluation_0").get_output_metric(),
    columns=list(scores.columns),
    rows=len(scores),
    tested=len(tested),
    detail=scores["predict_detail"].iloc[0],
)
