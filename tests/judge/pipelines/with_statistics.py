"""Describe the columns of each party."""

from fate_client.pipeline.components.fate import Statistics
from setting import intersect, new_pipeline, read, tell

pipeline = new_pipeline()
reader = read()
psi = intersect(reader)
every = Statistics(
    "statistics_0", input_data=psi.outputs["output_data"], metrics=["mean", "max", "std", "median", "25%"]
)
some = Statistics("statistics_1", input_data=psi.outputs["output_data"], metrics=["min", "var"], skip_col=["x0", "x1"])
pipeline.add_tasks([reader, psi, every, some])
pipeline.compile()
pipeline.fit()
tell(
    every=pipeline.get_task_info("statistics_0").get_output_model(),
    some=pipeline.get_task_info("statistics_1").get_output_model(),
)
