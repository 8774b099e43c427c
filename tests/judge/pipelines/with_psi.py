"""Intersect two tables and look at what each call gives."""

from setting import intersect, new_pipeline, read, tell

pipeline = new_pipeline()
reader = read()
psi = intersect(reader)
pipeline.add_tasks([reader, psi])
pipeline.compile()
pipeline.fit()
info = pipeline.get_task_info("psi_0")
data = info.get_output_data()
tell(
    columns=list(data["output_data"].columns),
    rows=len(data["output_data"]),
    metric=info.get_output_metric(),
    model=info.get_output_model(),
    read=len(pipeline.get_task_info(reader).get_output_data()["output_data"]),
)
