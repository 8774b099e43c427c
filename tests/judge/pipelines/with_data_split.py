"""Split aligned rows, by share and by number."""

from fate_client.pipeline.components.fate import DataSplit
from setting import intersect, new_pipeline, read, tell

pipeline = new_pipeline()
reader = read()
psi = intersect(reader)
shares = DataSplit(
    "data_split_0",
    train_size=0.6,
    validate_size=0.1,
    test_size=None,
    stratified=True,
    input_data=psi.outputs["output_data"],
)
numbers = DataSplit(
    "data_split_1", train_size=200, test_size=50, random_state=42, input_data=psi.outputs["output_data"]
)
pipeline.add_tasks([reader, psi, shares, numbers])
pipeline.compile()
pipeline.fit()
rows = {
    task: {port: len(table) for port, table in pipeline.get_task_info(task).get_output_data().items()}
    for task in ("data_split_0", "data_split_1")
}
tell(rows=rows)
