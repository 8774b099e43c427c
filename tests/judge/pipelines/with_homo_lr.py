"""Train a horizontal logistic regression on rows of two parties, go on with it, and predict at both with the model."""

from fate_client.pipeline.components.fate import Evaluation, HomoLR
from setting import GUEST, HOST, META, NAMESPACE, folder, new_pipeline, read, tell

pipeline = new_pipeline()
for party in ("guest", "host"):
    pipeline.transform_local_file_to_dataframe(
        file=f"{folder()}/breast_homo_{party}.csv",
        namespace=NAMESPACE,
        name=f"breast_homo_{party}",
        meta=META,
        head=True,
        extend_sid=True,
    )
tables = ("breast_homo_guest", "breast_homo_host")
reader = read("reader_0", *tables)
lr = HomoLR(
    "lr_0",
    epochs=10,
    batch_size=100,
    optimizer={"method": "adam", "optimizer_params": {"lr": 0.05}, "penalty": "l2", "alpha": 0.001},
    init_param={"fit_intercept": True, "method": "zeros"},
    train_data=reader.outputs["output_data"],
    validate_data=reader.outputs["output_data"],
)
more = HomoLR(
    "lr_1",
    epochs=2,
    train_data=reader.outputs["output_data"],
    warm_start_model=lr.outputs["output_model"],
)
judged = Evaluation(
    "evaluation_0",
    runtime_parties={"guest": GUEST, "host": HOST},
    default_eval_setting="binary",
    metrics=["auc"],
    input_datas=[lr.outputs["train_output_data"]],
)
pipeline.add_tasks([reader, lr, more, judged])
pipeline.compile()
pipeline.fit()
trained = pipeline.get_task_info("lr_1")
pipeline.deploy([lr])

predict = new_pipeline()
again = read("reader_1", *tables)
deployed = pipeline.get_deployed_pipeline()
deployed.lr_0.test_data = again.outputs["output_data"]
predict.add_tasks([again, deployed])
predict.compile()
predict.predict()
scores = predict.get_task_info("lr_0").get_output_data()["test_output_data"]
tell(
    model=trained.get_output_model(),
    judged=pipeline.get_task_info("evaluation_0").get_output_metric(),
    rows=len(trained.get_output_data()["train_output_data"]),
    predicted=len(scores),
    columns=list(scores.columns),
)
