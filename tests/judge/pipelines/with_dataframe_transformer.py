"""Bind two files where they lie, transform them in a job, and intersect what comes of it."""

from fate_client.pipeline.components.fate import PSI, DataFrameTransformer
from fate_client.pipeline.interface import DataWarehouseChannel
from setting import GUEST, HOST, NAMESPACE, folder, new_pipeline, tell

pipeline = new_pipeline()
for name in ("guest", "host"):
    pipeline.bind_local_path(path=f"{folder()}/breast_hetero_{name}.csv", namespace=NAMESPACE, name=f"bound_{name}")
transformer = DataFrameTransformer(
    "transformer_0",
    table=[
        DataWarehouseChannel(name="bound_guest", namespace=NAMESPACE, parties={"guest": GUEST}),
        DataWarehouseChannel(name="bound_host", namespace=NAMESPACE, parties={"host": HOST}),
    ],
    namespace=NAMESPACE,
    name="transformed",
)
psi = PSI("psi_0", input_data=transformer.outputs["dataframe_output"])
pipeline.add_tasks([transformer, psi])
pipeline.compile()
pipeline.fit()
tell(rows=len(pipeline.get_task_info("psi_0").get_output_data()["output_data"]))
