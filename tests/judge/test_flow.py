"""The outside judge's command line: FATE's own ``flow``, unchanged, against a federation started as in the README."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.judge.client import Judge

pytestmark = pytest.mark.needs("fate-client")

DAG = """\
dag:
  parties:
  - {party_id: ['9999'], role: guest}
  - {party_id: ['10000'], role: host}
  party_tasks:
    guest_9999:
      parties: [{party_id: ['9999'], role: guest}]
      tasks: {reader_0: {parameters: {name: flow_guest, namespace: experiment}}}
    host_10000:
      parties: [{party_id: ['10000'], role: host}]
      tasks: {reader_0: {parameters: {name: flow_host, namespace: experiment}}}
  stage: train
  conf: {cores: 2}
  tasks:
    reader_0: {component_ref: reader, stage: default, parameters: {}}
    psi_0:
      component_ref: psi
      stage: default
      dependent_tasks: [reader_0]
      inputs:
        data: {input_data: {task_output_artifact: {producer_task: reader_0, output_artifact_key: output_data}}}
    scale_0:
      component_ref: feature_scale
      dependent_tasks: [psi_0]
      parameters: {method: standard}
      inputs:
        data: {train_data: {task_output_artifact: {producer_task: psi_0, output_artifact_key: output_data}}}
schema_version: 2.2.0
"""
AT = ("-r", "guest", "-p", "9999")


@pytest.fixture(scope="module")
def job(judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Upload two tables with ``flow data upload``, submit a job with ``flow job submit`` and wait for its success."""
    folder = tmp_path_factory.mktemp("flow")
    for party, file in (("guest", "breast_hetero_guest"), ("host", "breast_hetero_host")):
        meta = {"delimiter": ",", "dtype": "float64", "sample_id_name": "id"}
        meta |= {"label_name": "y", "label_type": "int64"} if party == "guest" else {}
        conf = {
            "file": str(judge.tables / f"{file}.csv"),
            "head": True,
            "partitions": 4,
            "extend_sid": False,
            "meta": meta,
            "namespace": "experiment",
            "name": f"flow_{party}",
        }
        (folder / f"{party}.json").write_text(json.dumps(conf))
        uploaded = judge.flow("data", "upload", "-c", str(folder / f"{party}.json"))
        assert uploaded["data"] == {"namespace": "experiment", "name": f"flow_{party}"}
        judge.wait(uploaded["job_id"], "-r", "local", "-p", "0")
    (folder / "job.yaml").write_text(DAG)
    submitted = judge.flow("job", "submit", "-c", str(folder / "job.yaml"))
    assert submitted["data"]["model_id"]
    assert submitted["data"]["model_version"] == "0"
    judge.wait(submitted["job_id"], *AT)
    return str(submitted["job_id"])


def test_toy(judge: Judge) -> None:
    said = judge.run("test", "toy", "-gid", "9999", "-hid", "10000")
    assert said.strip().endswith("is success")


def test_table_query(judge: Judge, job: str) -> None:
    found = judge.flow("table", "query", "-ns", "experiment", "-n", "flow_guest")
    assert found["data"]["count"] == 549
    shown = judge.flow("table", "query", "-ns", "experiment", "-n", "flow_guest", "-d", "true")
    assert len(shown["data"]["display"]) <= 100
    missing = judge.flow("table", "query", "-ns", "experiment", "-n", "nothing", code=None)
    assert missing["code"] != 0
    assert "experiment/nothing" in missing["message"]


def test_job_query_and_list(judge: Judge, job: str) -> None:
    (view,) = judge.flow("job", "query", "-j", job, *AT)["data"]
    assert (view["job_id"], view["role"], view["party_id"], view["status"]) == (job, "guest", "9999", "success")
    assert view["progress"] == 100
    assert view["dag"]["dag"]["tasks"]["scale_0"]["component_ref"] == "feature_scale"
    (host,) = judge.flow("job", "query", "-j", job, "-r", "host", "-p", "10000")["data"]
    assert (host["role"], host["status"]) == ("host", "success")
    listed = judge.flow("job", "list", "-l", "5")["data"]
    assert listed["count"] >= 1
    assert job in [entry["job_id"] for entry in listed["data"]]


def test_task_query_and_list(judge: Judge, job: str) -> None:
    (task,) = judge.flow("task", "query", "-j", job, *AT, "-tn", "psi_0")["data"]
    assert (task["task_name"], task["component"], task["status"], task["task_version"]) == (
        "psi_0",
        "psi",
        "success",
        0,
    )
    listed = judge.flow("task", "list", "-j", job, *AT)["data"]
    assert {entry["task_name"] for entry in listed["data"]} == {"reader_0", "psi_0", "scale_0"}


def test_dependency(judge: Judge, job: str) -> None:
    found = judge.flow("job", "dependency", "-j", job, *AT)["data"]
    assert set(found["component_list"]) == {"reader_0", "psi_0", "scale_0"}
    assert [edge["up_output_info"] for edge in found["dependencies"]["psi_0"]] == [["data", 0]]


def test_notes(judge: Judge, job: str) -> None:
    judge.flow("job", "add-notes", "-j", job, *AT, "--notes", "the judge was here")
    (view,) = judge.flow("job", "query", "-j", job, *AT)["data"]
    assert view["description"] == "the judge was here"


def test_logs(judge: Judge, job: str, tmp_path: Path) -> None:
    judge.flow("job", "download-log", "-j", job, "-o", str(tmp_path))
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert any("guest/9999" in file and "psi_0" in file and file.endswith("INFO") for file in files)
    count = judge.flow("log", "count", "-j", job, *AT, "--log-type", "task_info")["data"]
    assert count
    lines = judge.flow("log", "query", "-j", job, *AT, "--log-type", "task_info", "-tn", "psi_0")["data"]
    assert lines
    assert {"line_num", "content"} <= lines[0].keys()


def test_outputs(judge: Judge, job: str, tmp_path: Path) -> None:
    about = ("-j", job, *AT, "-tn")
    assert isinstance(judge.flow("output", "query-metric-key", *about, "psi_0")["data"], list)
    assert judge.flow("output", "query-metric", *about, "psi_0")["data"]
    model = judge.flow("output", "query-model", *about, "scale_0")["data"]
    assert "output_model" in model
    judge.flow("output", "download-model", *about, "scale_0", "-o", str(tmp_path / "model"))
    assert any(path.is_file() for path in (tmp_path / "model").rglob("*"))
    judge.flow("output", "download-data", *about, "psi_0", "-o", str(tmp_path / "data"))
    (csv,) = (tmp_path / "data").rglob("*.csv")
    assert len(csv.read_text().splitlines()) == 1 + 529
    tables = judge.flow("output", "query-data-table", *about, "psi_0")["data"]
    assert tables["output_data"]
    shown = judge.flow("output", "display-data", *about, "psi_0")["data"]
    assert shown["output_data"]
    judge.flow("output", "delete-metric", *about, "psi_0")


def test_model_export_and_import(judge: Judge, job: str, tmp_path: Path) -> None:
    about = ("--model-id", job, "--model-version", "0")
    judge.flow("model", "export", *about, *AT, "-o", str(tmp_path))
    (exported,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    judge.flow("model", "delete", *about, *AT)
    judge.run("model", "import", *about, "-i", str(exported))
    again = judge.flow("model", "export", *about, *AT, "-o", str(tmp_path / "again"))
    assert again["code"] == 0


def test_permission(judge: Judge) -> None:
    app = judge.flow("client", "create-client", "--app-name", "judge")["data"]
    assert {"app_id", "app_token", "app_name", "app_type"} <= app.keys()
    judge.flow("permission", "grant", "--app-id", app["app_id"], "-r", "client")
    granted = judge.flow("permission", "query", "--app-id", app["app_id"])["data"]
    assert "client" in json.dumps(granted)
    judge.flow("permission", "delete", "--app-id", app["app_id"], "-r", "client")
    judge.flow("client", "delete-client", "--app-id", app["app_id"])


def test_permission_on_resources(judge: Judge, tmp_path: Path) -> None:
    conf = {"party_id": "10000", "component": "psi", "dataset": [{"name": "flow_guest", "namespace": "experiment"}]}
    (tmp_path / "grant.json").write_text(json.dumps(conf))
    judge.flow("permission", "grant-resource", "-c", str(tmp_path / "grant.json"))
    assert "psi" in json.dumps(judge.flow("permission", "query-resource", "-p", "10000")["data"])
    judge.flow("permission", "delete-resource", "-c", str(tmp_path / "grant.json"))


def test_site_server_provider(judge: Judge) -> None:
    assert judge.flow("site", "query")["data"]["party_id"] == "9999"
    assert judge.flow("server", "info")["data"]
    providers = judge.flow("provider", "query")["data"]
    assert any("psi" in json.dumps(provider) for provider in providers)


def test_stop_and_rerun(judge: Judge, job: str, tmp_path: Path) -> None:
    judge.flow("job", "rerun", "-j", job)
    judge.wait(job, *AT)
    (tmp_path / "job.yaml").write_text(DAG)
    other = judge.flow("job", "submit", "-c", str(tmp_path / "job.yaml"))["job_id"]
    judge.flow("job", "stop", "-j", other)
    assert judge.ended(other, *AT) in ("canceled", "success")
    judge.flow("job", "clean", "-j", other)
    assert judge.flow("job", "clean-queue")["code"] == 0


def test_errors_say_what_to_do(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(DAG.replace("component_ref: psi", "component_ref: pis"))
    refused = judge.flow("job", "submit", "-c", str(tmp_path / "bad.yaml"), code=None)
    assert refused["code"] != 0
    assert "did you mean 'psi'" in refused["message"]
    unknown = judge.flow("job", "query", "-j", "2020", code=None)
    assert unknown["code"] != 0
    assert unknown["message"]
