"""Every other command of ``flow``: which request it makes, and what people see of the answer."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from partyd.cli.flow import run
from partyd.errors import JobError
from tests.cli.conftest import Start
from tests.cli.fake_daemon import Raw, Wrapped, job
from tests.cli.flow_cases import CASES, MODEL, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words)
def test_the_request_and_what_is_shown(
    case: Case, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "conf.json"
    conf.write_text('{"party_id": "9999"}')
    daemon = start({case.path: [case.answer]})
    words = [str(conf) if word == "CONF" else word for word in case.words.split()]
    assert run(words) == 0
    assert case.shown in capsys.readouterr().out
    (asked,) = daemon.asked
    assert (json.loads(asked.body) if asked.method == "POST" else asked.query) == case.fields
    assert run([*words, "--json"]) == 0
    json.loads(capsys.readouterr().out)


def packed(name: str) -> Raw:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = 2
        archive.addfile(info, io.BytesIO(b"{}"))
    return Raw(buffer.getvalue(), "application/gzip")


@pytest.mark.parametrize(
    ("words", "path", "folder"),
    [
        ("job download-log J1 -o", "/v2/job/log/download", "J1_logs"),
        (
            "output download-model J1 -r guest -p 10000 -tn t -o",
            "/v2/output/model/download",
            "output_model_J1_guest_10000_t",
        ),
        ("output download-data J1 -tn t --output-key k -o", "/v2/output/data/download", "output_data_J1_t"),
    ],
)
def test_files_go_into_a_folder_of_their_own_as_with_fates_client(
    words: str, path: str, folder: str, start: Start, tmp_path: Path
) -> None:
    start({path: [packed("a/b.json")]})
    assert run([*words.split(), str(tmp_path)]) == 0
    assert (tmp_path / folder / "a" / "b.json").read_text() == "{}"


def test_models_are_carried_as_zips(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.json", "{}")
    zipped = Raw(buffer.getvalue(), "application/zip")
    daemon = start({"/v2/model/download": [zipped], "/v2/model/migrate": [zipped], "/v2/model/import": [MODEL]})
    named = ["-mid", "M1", "-mv", "0", "-r", "guest", "-p", "10000"]
    assert run(["model", "export", *named, "-o", str(tmp_path / "models")]) == 0
    file = tmp_path / "models" / "M1_0_guest_10000.zip"
    assert zipfile.is_zipfile(file)
    assert run(["model", "migrate", *named, "-o", str(tmp_path / "moved.zip")]) == 0
    assert zipfile.is_zipfile(tmp_path / "moved.zip")
    assert run(["model", "import", "-mid", "M2", "-mv", "1", "-i", str(file)]) == 0
    body = daemon.of("/v2/model/import")[0].body
    assert b'name="model_id"\r\n\r\nM2\r\n' in body
    assert file.read_bytes() in body
    assert "model M2 version 1 is here" in capsys.readouterr().out
    assert run(["model", "deploy", "-mid", "M1", "-mv", "0", "-o", str(tmp_path / "p.yaml")]) == 1


def test_a_deployed_model_is_a_job_to_submit(start: Start, tmp_path: Path) -> None:
    start({"/v2/model/deploy": [{"yaml": "dag: {}\n", "dag_schema": {"dag": {}}}]})
    assert run(["model", "deploy", "-mid", "M1", "-mv", "0", "-o", str(tmp_path / "p.yaml")]) == 0
    assert (tmp_path / "p.yaml").read_text() == "dag: {}\n"


def test_an_export_that_fails_leaves_no_file(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start({"/v2/model/download": [JobError("there is no model 'M1'")]})
    assert run(["model", "export", "-mid", "M1", "-mv", "0", "-o", str(tmp_path)]) == 1
    assert list(tmp_path.glob("*.zip")) + list(tmp_path.glob("*.partial")) == []
    assert "there is no model 'M1'" in capsys.readouterr().err


def test_a_log_is_followed(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    stream = (
        b'data: {"line_num": 1, "ts": 1, "level": "INFO", "message": "hello", "task_name": "psi_0"}\n\n'
        b'event: end\ndata: {"status": "success", "after": 1}\n\n'
    )
    daemon = start({"/v2/log/stream": [Raw(stream, "text/event-stream")]})
    assert run(["log", "follow", "J1", "--log-type", "task_debug"]) == 0
    assert "psi_0 - INFO: hello" in capsys.readouterr().out
    assert daemon.asked[0].query == {"job_id": "J1", "log_type": "task_debug", "after": "0"}


def test_fates_first_two_files_are_sent_as_one_and_remarks_are_shown(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dsl, conf = tmp_path / "dsl.json", tmp_path / "conf.json"
    dsl.write_text('{"components": {}}')
    conf.write_text('{"dsl_version": 2}')
    daemon = start({"/v2/job/submit": [Wrapped({"notes": ["job_parameters.work_mode: left out"]}, {"job_id": "J1"})]})
    assert run(["job", "submit", "--dsl", str(dsl), "--conf", str(conf)]) == 0
    assert json.loads(daemon.asked[0].body) == {"dsl": {"components": {}}, "conf": {"dsl_version": 2}}
    assert "work_mode: left out" in capsys.readouterr().err


def test_every_mistake_of_a_dag_has_a_line(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dag = tmp_path / "job.yaml"
    dag.write_text("{}")
    mistakes = [
        {"path": "dag.tasks.psi_0", "message": "there is no component 'psy'", "hint": "did you mean 'psi'?"},
        {"path": "dag.parties", "message": "is missing", "hint": ""},
    ]
    told = json.dumps({"code": 1000, "message": "2 mistakes in all", "data": {"mistakes": mistakes}})
    start({"/v2/job/submit": [Raw(told.encode(), "application/json", 400)]})
    assert run(["job", "submit", "-c", str(dag)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == [
        "  dag.tasks.psi_0: there is no component 'psy'; did you mean 'psi'?", "  dag.parties: is missing",
    ]  # fmt: skip
    assert run(["job", "submit", "-c", str(dag), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().err)["error"]["mistakes"]) == 2


def test_an_interrupt_leaves_the_job_running(
    start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    daemon = start({"/v2/job/query": [[job("running")]]})
    monkeypatch.setattr("partyd.cli.progress.watch", interrupt)
    assert run(["job", "watch", "J1"]) == 130
    assert "job J1 goes on; come back with: flow job watch J1; end it with" in capsys.readouterr().err
    assert daemon.of("/v2/job/stop") == []


def test_the_newest_jobs_when_none_is_named(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = {"party": "9999/host", "code": "cores", "cause": "2 of 4 cores are taken"}
    daemon = start(
        {
            "/v2/job/list/query": [{"data": [job("waiting", waiting=waiting), job("failed", notes="again")]}],
            "/v2/job/query": [[job("running")]],
        }
    )
    assert run(["job", "query", "-s", "waiting"]) == 0
    out = capsys.readouterr().out
    assert "waits: 2 of 4 cores are taken" in out
    assert "again" in out
    assert daemon.asked[0].query["status"] == "waiting"
    assert run(["job", "query", "J1", "-s", "failed"]) == 0
    assert "job J1 is running, not failed" in capsys.readouterr().out
