"""Put two intersections under each other."""

from fate_client.pipeline.components.fate import Union
from setting import intersect, new_pipeline, read, tell

pipeline = new_pipeline()
first = read("reader_0", "guest_part_1", "host_part_1")
second = read("reader_1", "guest_part_2", "host_part_2")
psi_0, psi_1 = intersect(first, "psi_0"), intersect(second, "psi_1")
union = Union("union_0", input_datas=[psi_0.outputs["output_data"], psi_1.outputs["output_data"]])
pipeline.add_tasks([first, second, psi_0, psi_1, union])
pipeline.compile()
pipeline.fit()
tell(rows=len(pipeline.get_task_info("union_0").get_output_data()["output_data"]))
