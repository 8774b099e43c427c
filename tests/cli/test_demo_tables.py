"""How the demo cuts its table, and what it compares with."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from partyd.cli import demo_report, demo_tables
from partyd.cli.demo_federation import DemoError, federation
from partyd.cli.demo_tables import Score
from partyd.client import Metric
from partyd.data.formats import Format
from partyd.data.ingest import read_file


def test_the_two_files_overlap_and_hold_what_is_theirs(tmp_path: Path) -> None:
    users = demo_tables.load_users()
    files = demo_tables.cut(users, tmp_path)
    guest, _ = read_file(files.guest, Format(label="y", sample_id="id"), tmp_path / "guest")
    host, _ = read_file(files.host, Format(sample_id="id"), tmp_path / "host")
    assert (len(guest), len(host)) == (files.guest_rows, files.host_rows)
    assert guest.schema.features + host.schema.features == users.names
    ids = {str(i, "ascii") for i in guest.ids.tolist()}, {str(i, "ascii") for i in host.ids.tolist()}
    assert ids[0] & ids[1] == files.common
    for own, other in (ids, ids[::-1]):
        assert 0.13 < len(own - other) / len(own) < 0.17
    place = users.ids.index(str(host.ids[0], "ascii"))
    assert np.array_equal(host.features[0], users.x[place, demo_tables.GUEST_FEATURES :])
    again = demo_tables.cut(users, tmp_path)
    assert again == files


def test_the_hosts_file_has_no_label(tmp_path: Path) -> None:
    files = demo_tables.cut(demo_tables.load_users(), tmp_path)
    with files.host.open() as file:
        header = next(csv.reader(file))
    assert "y" not in header


def test_the_pooled_model_is_good(tmp_path: Path) -> None:
    users = demo_tables.load_users()
    train, held_out = demo_tables.pooled(users, users.ids[:400], users.ids[400:])
    assert (train.rows, held_out.rows) == (400, 169)
    assert min(train.auc, held_out.auc) > 0.98
    assert train.ks > 0.9


def test_the_comparison_is_the_larger_difference(capsys: pytest.CaptureFixture[str]) -> None:
    ours, pooled = [Score(0, 0.99, 0.9), Score(0, 0.97, 0.9)], [Score(7, 0.995, 0.9), Score(3, 0.95, 0.9)]
    assert demo_report.compare(ours, pooled) == pytest.approx(0.02)
    assert "+0.0200" in capsys.readouterr().out


def test_the_loss_is_drawn_and_must_fall(capsys: pytest.CaptureFixture[str]) -> None:
    demo_report.losses({"loss": Metric("loss", ((0, 0.7), (1, 0.4), (2, 0.3)))})
    assert "loss over 3 epochs: 0.7000 █▃▁ 0.3000" in capsys.readouterr().out
    assert demo_report.sparkline([1.0, 1.0]) == "▁▁"
    for points in ((), ((0, 0.3), (1, 0.7))):
        with pytest.raises(DemoError, match="did not fall"):
            demo_report.losses({"loss": Metric("loss", points)})


def test_an_evaluation_without_auc_is_named() -> None:
    assert demo_report.score_of({"auc": Metric("auc", ((0, 0.9),)), "ks": Metric("ks", ((0, 0.8),))}).auc == 0.9
    with pytest.raises(DemoError, match="no auc, ks"):
        demo_report.score_of({})


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(DemoError, match=f"port {port} already"), federation(tmp_path, port):
            pass
    assert not (tmp_path / "federation.log").exists()
