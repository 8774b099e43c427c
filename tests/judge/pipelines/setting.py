"""What every script of the judge shares: the parties, the tables, how a result is told to the test."""

import json
import sys
from pathlib import Path

from fate_client.pipeline import FateFlowPipeline
from fate_client.pipeline.components.fate import PSI, Reader
from fate_client.pipeline.utils import test_utils

PARTIES = test_utils.load_job_config(Path(__file__).with_name("config.yaml")).parties
GUEST, HOST, ARBITER = PARTIES.guest[0], PARTIES.host[0], PARTIES.arbiter[0]
NAMESPACE = "experiment"
META = {
    "delimiter": ",",
    "dtype": "float64",
    "label_type": "int64",
    "label_name": "y",
    "match_id_name": "id",
}


def new_pipeline():
    return FateFlowPipeline().set_parties(guest=GUEST, host=HOST, arbiter=ARBITER)


def upload(folder, *names, meta=META):
    pipeline = new_pipeline()
    for name in names:
        own = meta if "guest" in name else {k: v for k, v in meta.items() if not k.startswith("label")}
        pipeline.transform_local_file_to_dataframe(
            file=str(Path(folder) / f"{name}.csv"),
            namespace=NAMESPACE,
            name=name,
            meta=dict(own),
            head=True,
            extend_sid=True,
        )


def read(name="reader_0", guest="breast_hetero_guest", host="breast_hetero_host"):
    reader = Reader(name, runtime_parties={"guest": GUEST, "host": HOST})
    reader.guest.task_parameters(namespace=NAMESPACE, name=guest)
    reader.hosts[0].task_parameters(namespace=NAMESPACE, name=host)
    return reader


def intersect(reader, name="psi_0"):
    return PSI(name, input_data=reader.outputs["output_data"])


def tell(**found):
    """Print what the test looks at, as the last line."""
    print(json.dumps(found, default=str))


def folder():
    return sys.argv[1]
