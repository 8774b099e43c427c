"""The processes that read and write tables, run as processes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from partyd.data.export import export
from partyd.data.formats import Format
from partyd.data.ingest import read_file
from partyd.data.npy import IdFile, NpyFile, pieces
from partyd.data.orders import REFUSED, ExportOrder, Order
from partyd.data.table import Table
from partyd.errors import DataError


def run(module: str, order: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"partyd.data.{module}"]
    return subprocess.run(command, input=order, capture_output=True, text=True, timeout=60, check=False)


def test_ingest_tells_how_far_it_is_and_what_it_kept(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("id,a\nu,1\nv,2\n")
    done = run("ingest", Order(folder=tmp_path / "out", path=file).model_dump_json())
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {"done": 13, "total": 13, "rows": 2}
    assert lines[-1]["table"]["digest"] == Table.load(tmp_path / "out").digest().hex()


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ('{"folder": "FOLDER/o", "path": "FOLDER/gone.csv", "shown_as": "the file"}', "the file cannot be read"),
        ('{"folder": "FOLDER/o", "path": "FOLDER/bad.csv"}', "line 2: a holds 'x'"),
        ('{"folder": "FOLDER/bad.csv/o", "path": "FOLDER/bad.csv"}', "cannot be kept: Not a directory"),
        ("{}", "order"),
        ("", "order"),
    ],
)
def test_ingest_says_in_one_line_why_not(tmp_path: Path, order: str, words: str) -> None:
    (tmp_path / "bad.csv").write_text("id,a\nu,x\n")
    done = run("ingest", order.replace("FOLDER", str(tmp_path)))
    assert done.returncode == REFUSED
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not (tmp_path / "o").exists()


def table_in(folder: Path) -> Table:
    file = folder / "t.csv"
    file.write_text('id,phone,y,"a,b"\nu,p,1,0.1\nv,"q""",0,\n')
    return read_file(file, Format(match_id="phone"), folder / "table")[0]


def test_a_table_is_written_as_the_csv_that_it_came_from(tmp_path: Path) -> None:
    table_in(tmp_path)
    order = ExportOrder(folder=tmp_path / "table", target=tmp_path / "out.csv", draft=tmp_path / ".out.csv.partial")
    assert run("export", order.model_dump_json()).returncode == 0
    rows = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert rows == [["id", "phone", "y", "a,b"], ["u", "p", "1", "0.1"], ["v", 'q"', "0", ""]]
    again, _ = read_file(tmp_path / "out.csv", Format(match_id="phone"), tmp_path / "again")
    assert again.digest() == Table.load(tmp_path / "table").digest()


def test_an_archive_is_fates(tmp_path: Path) -> None:
    table_in(tmp_path)
    target = tmp_path / "out.tar.gz"
    order = ExportOrder(
        folder=tmp_path / "table", target=target, draft=tmp_path / ".draft", is_archive=True, has_header=False
    )
    assert export(order, lambda *_: None) == target.stat().st_size
    with tarfile.open(target) as archive:
        assert archive.getnames() == ["data/0.csv", "data/0.meta"]
        rows = archive.extractfile("data/0.csv")
        meta = archive.extractfile("data/0.meta")
        assert rows is not None
        assert meta is not None
        assert rows.read().decode().splitlines()[0] == "u,p,1,0.1"
        assert json.loads(meta.read())["header"][:3] == ["id", "phone", "y"]
        assert archive.getmember("data/0.csv").uname == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tar.gz", "t.csv", "table"]


def test_export_says_why_not(tmp_path: Path) -> None:
    order = ExportOrder(folder=tmp_path / "gone", target=tmp_path / "out.csv", draft=tmp_path / ".out.csv.partial")
    done = run("export", order.model_dump_json())
    assert (done.returncode, done.stderr.count("\n")) == (REFUSED, 1)
    with pytest.raises(DataError, match="upload it again"):
        export(order, lambda *_: None)


def test_arrays_written_in_pieces_are_read_by_numpy(tmp_path: Path) -> None:
    with NpyFile(tmp_path / "m.npy", "float32", 3) as matrix:
        for start in (0, 3):
            matrix.append(np.arange(start, start + 3.0).reshape(1, 3))
        matrix.append(np.zeros((0, 3)))
        matrix.finish()
    assert np.load(tmp_path / "m.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [len(piece) for piece in pieces(tmp_path / "m.npy", chunk_bytes=12)] == [1, 1]
    ids = IdFile(tmp_path / "ids.npy")
    for word in (b"a", b"abc", b"ab", b"abcd"):
        ids.append(np.array([word]))
    ids.finish()
    ids.close()
    found = np.load(tmp_path / "ids.npy")
    assert (found.dtype, found.tolist()) == (np.dtype("S4"), [b"a", b"abc", b"ab", b"abcd"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.npy", "m.npy"]
