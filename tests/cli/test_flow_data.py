"""``flow data``, ``flow table``, ``flow output``, ``flow log``, ``flow site``: what they ask for and what they show."""

from __future__ import annotations

import io
import json
import tarfile
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from partyd.cli.flow import run
from tests.cli.conftest import Start
from tests.cli.fake_daemon import TABLE, Answer, Asked, Raw, Wrapped, job

UPLOAD = "/v2/data/component/upload/file"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "guest.csv"
    path.write_text("id,y,x0,x1\na,1,2,3\n")
    return path


def test_upload_by_options(start: Start, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = start({UPLOAD: [{**TABLE, "skipped": ["line 3: 2 columns instead of 4"]}]})
    words = ["--label", "y", "--id", "id", "--match-id", "id", "--delimiter", ",", "--bad-rows", "skip", "-r", "guest"]
    assert run(["data", "upload", "--file", str(file), "--namespace", "demo", "--name", "guest", *words]) == 0
    out = capsys.readouterr().out
    assert "skipped line 3" in out
    assert "demo/guest: 3 rows, 2 features" in out
    assert "  id id, label y" in out
    (asked,) = daemon.asked
    assert asked.body == file.read_bytes()
    assert asked.query == {
        "namespace": "demo", "name": "guest", "label": "y", "sample_id": "id", "match_id": "id", "delimiter": ",",
        "on_bad_row": "skip", "role": "guest",
    }  # fmt: skip


def form_of(asked: Asked) -> dict[str, bytes]:
    """Return a form's fields as they were sent."""
    head = f"Content-Type: {asked.headers['Content-Type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + asked.body, policy=HTTP).iter_parts()
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)  # type: ignore[misc]
        for part in parts
    }


LOCAL: dict[str, object] = {"role": "local", "party_id": "0", "parties": [{"role": "local", "party_id": ["0"]}]}


def uploaded(**more: object) -> dict[str, list[Answer]]:
    """Return the answers of a daemon that stores a form's file in the background."""
    done = {"job_id": "L1"}
    ended = {**job("success", {"upload": "success"}, job_id="L1", component="upload"), **LOCAL, **more}
    return {
        UPLOAD: [Wrapped({"namespace": "demo", "name": "guest"}, done)],
        "/v2/data/component/upload": [Wrapped({}, done)],
        "/v2/data/component/dataframe/transformer": [Wrapped({}, done)],
        "/v2/data/component/download": [Wrapped({}, done)],
        "/v2/job/query": [[ended]],
        "/v2/table/query": [TABLE],
    }


def test_upload_by_fates_configuration(start: Start, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = file.with_name("conf.json")
    meta = {"delimiter": ";", "label_name": "y", "match_id_name": "id", "input_format": "dense", "shape": 2}
    outer = {"file": "guest.csv", "namespace": "demo", "name": "guest", "head": True, "partitions": 4}
    conf.write_text(json.dumps({**outer, "extend_sid": True, "meta": meta, "colour": 1}))
    daemon = start(uploaded())
    assert run(["data", "upload", "-c", str(conf), "-r", "guest"]) == 0
    said = capsys.readouterr()
    for words in ("partitions has no effect", "shape is unknown here", "colour is unknown here"):
        assert words in said.err
    assert "extend_sid" not in said.err
    assert "demo/guest: 3 rows" in said.out
    form = form_of(daemon.asked[0])
    assert form["file"] == file.read_bytes()
    assert json.loads(form.pop("meta")) == {key: value for key, value in meta.items() if key != "shape"}
    assert {key: value for key, value in form.items() if key != "file"} == {
        "namespace": b"demo", "name": b"guest", "head": b"true", "partitions": b"4", "extend_sid": b"true",
        "role": b"guest",
    }  # fmt: skip
    assert daemon.of("/v2/job/query")[0].query["job_id"] == "L1"
    assert run(["data", "upload-file", "-c", str(conf), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 3


def test_fates_first_configurations_are_understood(start: Start, file: Path) -> None:
    conf = file.with_name("conf.json")
    conf.write_text(
        json.dumps(
            {"file": str(file), "table_name": "t", "namespace": "n", "head": 1, "id_delimiter": ",", "work_mode": 1}
        )
    )
    daemon = start(uploaded())
    assert run(["data", "upload", "-c", str(conf)]) == 0
    form = form_of(daemon.asked[0])
    assert (form["name"], form["head"], json.loads(form["meta"])) == (b"t", b"true", {"delimiter": ","})


def test_a_file_that_is_not_here_is_the_daemons(start: Start, file: Path) -> None:
    conf = file.with_name("conf.json")
    conf.write_text(json.dumps({"file": "/data/there.csv", "namespace": "n", "name": "t"}))
    daemon = start(uploaded())
    assert run(["data", "upload", "-c", str(conf)]) == 0
    (asked,) = daemon.of("/v2/data/component/upload")
    assert json.loads(asked.body)["file"] == "/data/there.csv"


def test_an_upload_that_fails_says_why(start: Start, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = file.with_name("conf.json")
    conf.write_text(json.dumps({"file": str(file), "namespace": "n", "name": "t"}))
    reason = {"party": "10000/guest", "task": "upload", "code": "data", "cause": "line 2: 'x' is no number"}
    start(
        {
            **uploaded(),
            "/v2/job/query": [[{**job("failed", {"upload": "failed"}, job_id="L1", reason=reason), **LOCAL}]],
        }
    )
    assert run(["data", "upload", "-c", str(conf)]) == 1
    assert "line 2: 'x' is no number" in capsys.readouterr().err


def test_rows_of_a_database(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = start(uploaded())
    words = ["--sql", "warehouse", "--query", "select 1", "-ns", "demo", "-n", "guest", "--label", "y", "--id", "id"]
    assert run(["data", "upload", *words]) == 0
    assert "demo/guest: 3 rows" in capsys.readouterr().out
    assert json.loads(daemon.asked[0].body) == {
        "namespace": "demo", "name": "guest", "source": "warehouse", "query": "select 1", "extend_sid": False,
        "meta": {"label_name": "y", "sample_id_name": "id"},
    }  # fmt: skip


def test_how_a_file_is_to_be_read(start: Start, file: Path) -> None:
    daemon = start({UPLOAD: [TABLE]})
    names = ["-ns", "demo", "-n", "guest"]
    words = ["--header", "id, y,x", "--encoding", "gbk", "--duplicates", "skip", "--extend-sid", "--format", "csv"]
    assert run(["data", "upload", "--file", str(file), *names, *words]) == 0
    wanted = {
        ("format", "csv"), ("encoding", "gbk"), ("on_duplicate", "skip"), ("header", "false"), ("extend_sid", "true"),
        ("names", "id"), ("names", "y"), ("names", "x"),
    }  # fmt: skip
    assert wanted < set(parse_qsl(daemon.asked[0].query_text))
    assert run(["data", "upload", "--file", str(file), *names, "--no-header"]) == 0
    assert daemon.asked[1].query["header"] == "false"
    assert run(["data", "upload", "--file", str(file), *names, "--format", "word"]) == 2


def test_tables_are_transformed_and_fetched(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("guest.csv")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"id"))
    daemon = start({**uploaded(), "/v2/data/download": [Raw(packed.getvalue(), "application/gzip")]})
    conf = tmp_path / "conf.json"
    conf.write_text(
        json.dumps({"namespace": "n", "name": "t", "data_warehouse": {"namespace": "demo", "name": "guest"}})
    )
    assert run(["data", "transformer", "-c", str(conf)]) == 0
    assert json.loads(daemon.asked[0].body)["data_warehouse"]["name"] == "guest"
    assert run(["data", "download", "-ns", "demo", "-n", "guest", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "guest.csv").read_text() == "id"
    assert run(["data", "download-component", "-ns", "demo", "-n", "guest", "-o", "/data/out.csv"]) == 0
    assert json.loads(daemon.of("/v2/data/component/download")[0].body)["path"] == "/data/out.csv"
    assert "is written to /data/out.csv there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file": None}, "file is missing"),
        ({"table_name": ""}, "name is missing"),
        ({"meta": 3}, "meta is no object"),
    ],
)
def test_configurations_that_cannot_be_done(
    change: dict[str, object], words: str, start: Start, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(uploaded())
    conf = file.with_name("conf.json")
    conf.write_text(json.dumps({"file": str(file), "namespace": "n", "table_name": "t", **change}))
    assert run(["data", "upload", "-c", str(conf)]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("given", "sent"), [("tab", "\t"), ("\\t", "\t"), (";", ";"), ("ab", None)])
def test_a_delimiter_is_one_character(given: str, sent: str | None, start: Start, file: Path) -> None:
    daemon = start({UPLOAD: [TABLE]})
    status = run(["data", "upload", "--file", str(file), "-ns", "demo", "-n", "guest", "--delimiter", given])
    assert (status, [asked.query["delimiter"] for asked in daemon.asked]) == ((0, [sent]) if sent else (1, []))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_configuration_that_is_none(content: str, file: Path) -> None:
    conf = file.with_name("conf.json")
    conf.write_text(content)
    assert run(["data", "upload", "-c", str(conf)]) == 1


def test_tables(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    bound = {**TABLE, "disabled": True, "bound": {"path": "/data/guest.csv"}}
    daemon = start({"/v2/table/query": [[TABLE, bound], [], TABLE], "/v2/table/delete": [{}]})
    assert run(["table", "list"]) == 0
    out = capsys.readouterr().out
    assert "demo       guest  3     2         y\n" in out
    assert "demo       guest  3     2         y      disabled" in out
    assert run(["table", "list"]) == 0
    assert "flow data upload" in capsys.readouterr().out
    assert run(["table", "query", "-ns", "demo", "-n", "guest"]) == 0
    assert "features x0, x1" in capsys.readouterr().out
    assert run(["table", "delete", "-ns", "demo", "-n", "guest", "-p", "10000"]) == 0
    assert json.loads(daemon.asked[-1].body) == {"namespace": "demo", "name": "guest", "party_id": "10000"}


def test_what_else_is_done_with_tables(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    use = {"job_id": "J1", "task_name": "reader_0", "used_at": 1.5, "is_open": False}
    daemon = start(
        {
            "/v2/table/query": [TABLE],
            "/v2/table/preview": [{"count": 9, "header": ["id", "x0"], "rows": [["a", None]]}],
            "/v2/table/lineage": [[use], []],
            **{f"/v2/table/{verb}": [TABLE] for verb in ("disable", "enable", "bind/path")},
        }
    )
    names = ["-ns", "demo", "-n", "guest"]
    for words in (["query", "-d", "true"], ["query", "--display"], ["preview", "--limit", "1"]):
        assert run(["table", words[0], *names, *words[1:]]) == 0
        assert capsys.readouterr().out.endswith("id  x0\na\n1 of 9 rows\n")
    assert run(["table", "query", *names, "-d", "true", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["preview"]["count"] == 9
    assert run(["table", "lineage", *names]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("J1", "reader_0", "1970-01-0", "false"))
    assert run(["table", "lineage", *names]) == 0
    assert run(["table", "disable", *names]) == 0
    assert run(["table", "enable", *names]) == 0
    assert run(["table", "bind", *names, "-o", "/data/guest.csv", "--adopt"]) == 0
    assert run(["table", "bind", *names, "--sql", "warehouse", "--table", "users"]) == 0
    path, rows = (json.loads(asked.body) for asked in daemon.of("/v2/table/bind/path"))
    assert path == {"namespace": "demo", "name": "guest", "path": "/data/guest.csv", "adopt": True}
    assert rows == {"namespace": "demo", "name": "guest", "source": "warehouse", "table": "users"}


def test_what_a_task_gave(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start(
        {
            "/v2/output/metric/query": [[{"name": "auc", "data": [{"step": 0, "val": 0.75}]}], []],
            "/v2/output/model/query": [{"output_model": {"weights": {"x0": 1.5}}}],
            "/v2/output/data/display": [{"count": 9, "header": ["id", "x0"], "rows": [["a", 1.5]]}],
            "/v2/log/query": [[{"ts": 0.5, "level": "INFO", "message": "hello"}]],
        }
    )
    task = ["-j", "J1", "-tn", "lr_0"]
    assert run(["output", "query-metric", *task]) == 0
    assert "auc     0.75  1" in capsys.readouterr().out
    assert run(["output", "query-metric", *task]) == 0
    assert "no metrics" in capsys.readouterr().out
    assert run(["output", "query-model", *task]) == 0
    assert json.loads(capsys.readouterr().out)["output_model"]["weights"] == {"x0": 1.5}
    assert run(["output", "display-data", *task, "--output-key", "out"]) == 0
    assert capsys.readouterr().out == "id  x0\na   1.5\n1 of 9 rows\n"
    assert run(["log", "query", *task]) == 0
    assert capsys.readouterr().out.endswith(",500 - lr_0 - INFO: hello\n")


def test_site_and_server(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    sibling = {"address": "9999/host", "url": "http://127.0.0.1:9381"}
    peer = {"me": "10000/guest", "peer": "9999/host", "fingerprint": "abc", "established": True, "silent": False}
    start(
        {
            "/v2/site/info/query": [{"party_id": "10000", "roles": ["guest"], "org": "Bank", "siblings": [sibling]}],
            "/v2/site/peers": [[peer, {**peer, "established": False}, {**peer, "silent": True}], []],
            "/v2/server/fateflow": [{"host": "127.0.0.1", "port": 9380, "version": "0.1.0"}],
        }
    )
    assert run(["site", "query"]) == 0
    out = capsys.readouterr().out
    for words in (
        "party 10000, guest, Bank",
        "established",
        "none yet",
        "silent",
        "9999/host at http://127.0.0.1:9381",
    ):
        assert words in out
    assert run(["site", "query"]) == 0
    assert "partyd peer add" in capsys.readouterr().out
    assert run(["server", "info"]) == 0
    assert capsys.readouterr().out == "partyd 0.1.0 at 127.0.0.1:9380\n"
