"""What a notebook draws: every word of a peer escaped, a curve within its frame."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from partyd.client import Job, Metric, notebook
from partyd.client.fields import Fields
from tests.cli.fake_daemon import REASON, job


def read(status: str, tasks: dict[str, str] | None = None, **more: object) -> Job:
    return Job.read(Fields.of(job(status, tasks, **more), "test"))  # type: ignore[arg-type]


def test_a_job_is_a_table_of_tasks_with_bars_and_curves() -> None:
    loss = Metric("loss", ((0, 0.7), (1, 0.5), (2, 0.4)))
    html = notebook.job_html(read("running", {"psi_0": "success", "lr_0": "running"}), {"lr_0 loss": loss})
    root = ET.fromstring(html)
    assert [cell.text for cell in root.iter("th")] == [
        "task",
        "component",
        "10000/guest",
        "9999/host",
        "progress",
        "note",
    ]
    assert [row[0].text for row in root.iter("tr")][1:] == ["psi_0", "lr_0"]
    assert [bar.get("value") for bar in root.iter("progress")] == ["25"]
    (line,) = root.iter("polyline")
    points = [tuple(map(float, point.split(","))) for point in str(line.get("points")).split()]
    assert all(0 <= x <= notebook.WIDTH and 0 <= y <= notebook.HEIGHT for x, y in points)
    assert points[0][1] < points[-1][1], "a loss that falls goes down"
    assert "lr_0 loss: 0.7 to 0.4 in 3 steps" in html


def test_what_a_peer_says_is_text_and_never_markup() -> None:
    evil = "<script>alert(1)</script>&\"'"
    told = read(
        "failed",
        {evil: "failed"},
        component=evil,
        job_id=evil,
        reason={"party": evil, "task": evil, "code": evil, "cause": evil},
        parties=[{"role": evil, "party_id": [evil]}],
        remote_tasks={f"{evil}/{evil}": {evil: evil}},
    )
    html = notebook.job_html(told, {evil: Metric(evil, ((0, 1.0), (1, 2.0)))})
    assert "<script" not in html
    assert ET.fromstring(html).tag == "div"


@pytest.mark.parametrize("values", [(), (1.0,), (float("nan"), 1.0), (float("inf"), float("nan"))])
def test_no_curve_of_fewer_than_two_values(values: tuple[float, ...]) -> None:
    assert notebook.curve_svg(Metric("loss", tuple(enumerate(values)))) == ""


def test_a_flat_curve_is_a_line() -> None:
    assert 'points="8.0,8.0 312.0,8.0"' in notebook.curve_svg(Metric("loss", ((0, 1.0), (1, 1.0))))


def test_the_loss_is_drawn_before_all_others() -> None:
    two = ((0, 1.0), (1, 2.0))
    metrics = {"auc": Metric("auc", two), "loss": Metric("loss", two), "x": Metric("x", two)}
    assert list(notebook.curves_of("lr_0", metrics)) == ["lr_0 loss"]
    assert notebook.curves_of("lr_0", {"x": Metric("x", two), "loss": Metric("loss", two[:1])}) == {}


def test_a_reason_is_shown() -> None:
    assert "9999/host, task reader_0: there is no table demo/host" in notebook.job_html(
        read("failed", reason=REASON), {}
    )
    waiting = {"party": "9999/host", "code": "cores", "cause": "all cores are taken"}
    assert "9999/host: all cores are taken" in notebook.job_html(read("waiting", waiting=waiting), {})


def test_a_cell_is_drawn_once_and_then_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []

    def show(shown: object, *, display_id: bool) -> SimpleNamespace:
        drawn.append(("new", shown))
        return SimpleNamespace(update=drawn.append)

    display = SimpleNamespace(HTML=lambda data: data, display=show)
    assert notebook.cell() is None
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    cell = notebook.cell()
    assert cell is not None
    cell("a")
    cell("b")
    assert drawn == [("new", "a"), "b"]
