"""Draw rows: a share of each label, and a number with replacement."""

from fate_client.pipeline.components.fate import Sample
from setting import intersect, new_pipeline, read, tell

pipeline = new_pipeline()
reader = read()
psi = intersect(reader)
share = Sample("sample_0", frac={0: 0.5, 1: 0.2}, replace=False, input_data=psi.outputs["output_data"])
number = Sample(
    "sample_1", n=1000, replace=True, random_state=7, hetero_sync=True, input_data=psi.outputs["output_data"]
)
pipeline.add_tasks([reader, psi, share, number])
pipeline.compile()
pipeline.fit()
drawn = pipeline.get_task_info("sample_0").get_output_data()["output_data"]
tell(
    by_label={str(label): int(count) for label, count in drawn["y"].value_counts().items()},
    drawn=len(pipeline.get_task_info("sample_1").get_output_data()["output_data"]),
)
