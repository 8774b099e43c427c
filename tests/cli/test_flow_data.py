"""``flow data``, ``flow table``, ``flow output``, ``flow log``, ``flow site``: what they ask for and what they show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partyd.cli.flow import run
from tests.cli.conftest import Start
from tests.cli.fake_daemon import TABLE

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


def test_upload_by_fates_configuration(start: Start, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = file.with_name("conf.json")
    meta = {"delimiter": ";", "label_name": "y", "match_id_name": "id", "input_format": "dense"}
    document = {
        "file": "guest.csv",
        "namespace": "demo",
        "name": "guest",
        "head": True,
        "partitions": 4,
        "extend_sid": True,
    }
    conf.write_text(json.dumps({**document, "meta": meta, "colour": 1}))
    daemon = start({UPLOAD: [TABLE]})
    assert run(["data", "upload", "-c", str(conf)]) == 0
    err = capsys.readouterr().err
    for words in ("partitions has no effect", "extend_sid has no effect", "colour is unknown here"):
        assert words in err
    assert daemon.asked[0].query == {
        "namespace": "demo", "name": "guest", "label": "y", "match_id": "id", "delimiter": ";",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file": None}, "file is missing"),
        ({"table_name": ""}, "table_name is missing"),
        ({"head": False}, "head = False is not supported"),
        ({"meta": {"input_format": "libsvm"}}, "input_format = 'libsvm' is not supported"),
        ({"meta": {"label_name": ["a"]}}, "no column's name"),
        ({"meta": []}, None),
        ({"meta": 3}, "meta is no object"),
    ],
)
def test_configurations_that_cannot_be_done(
    change: dict[str, object], words: str | None, start: Start, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start({UPLOAD: [TABLE]})
    conf = file.with_name("conf.json")
    conf.write_text(json.dumps({"file": str(file), "namespace": "n", "table_name": "t", **change}))
    assert run(["data", "upload", "-c", str(conf)]) == (0 if words is None else 1)
    assert (words or "") in capsys.readouterr().err


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
    daemon = start({"/v2/table/query": [[TABLE], [], TABLE], "/v2/table/delete": [{}]})
    assert run(["table", "list"]) == 0
    assert "demo       guest  3     2         y" in capsys.readouterr().out
    assert run(["table", "list"]) == 0
    assert "flow data upload" in capsys.readouterr().out
    assert run(["table", "query", "-ns", "demo", "-n", "guest"]) == 0
    assert "features x0, x1" in capsys.readouterr().out
    assert run(["table", "delete", "-ns", "demo", "-n", "guest", "-p", "10000"]) == 0
    assert json.loads(daemon.asked[-1].body) == {"namespace": "demo", "name": "guest", "party_id": "10000"}


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
