"""Judge scores with every metric of the binary setting."""

from fate_client.pipeline.components.fate import CoordinatedLR, Evaluation
from setting import GUEST, intersect, new_pipeline, read, tell

pipeline = new_pipeline()
reader = read()
psi = intersect(reader)
lr = CoordinatedLR(
    "lr_0",
    epochs=2,
    batch_size=None,
    optimizer={"method": "RMSprop", "optimizer_params": {"lr": 0.1}, "alpha": 0.01},
    init_param={"fit_intercept": True},
    train_data=psi.outputs["output_data"],
)
names = ["auc", "ks", "gain", "lift", "confusion_matrix", "binary_precision", "binary_recall", "binary_accuracy"]
judged = Evaluation(
    "evaluation_0", runtime_parties={"guest": GUEST}, metrics=names, input_datas=[lr.outputs["train_output_data"]]
)
default = Evaluation(
    "evaluation_1",
    runtime_parties={"guest": GUEST},
    default_eval_setting="binary",
    input_datas=[lr.outputs["train_output_data"]],
)
pipeline.add_tasks([reader, psi, lr, judged, default])
pipeline.compile()
pipeline.fit()
tell(
    asked=pipeline.get_task_info("evaluation_0").get_output_metric(),
    default=pipeline.get_task_info("evaluation_1").get_output_metric(),
)
