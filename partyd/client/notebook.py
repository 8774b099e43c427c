"""How a job looks in a notebook: a table of its tasks with bars, and a small curve of the loss; all text escaped."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from html import escape
from importlib import import_module
from typing import Protocol, cast

from partyd.client.replies import Job, Metric, Task

WIDTH, HEIGHT, EDGE = 320, 110, 8
CURVES = ("loss", "train_loss", "validate_loss", "train_auc", "auc")
"""Metrics that are drawn, the first that a task has."""
_COLOURS = {
    "success": "#2e7d32", "running": "#1565c0", "failed": "#c62828", "waiting": "#757575", "pass": "#9e9e9e",
    "canceled": "#ef6c00", "timeout": "#c62828",
}  # fmt: skip


def job_html(job: Job, curves: Mapping[str, Metric]) -> str:
    """Return a job as HTML: its tasks at every party, the reason if it failed, and ``curves`` by title."""
    head = "".join(f"<th>{escape(title)}</th>" for title in ("task", "component", *job.parties, "progress", "note"))
    rows = "".join(_row(job, task) for task in job.tasks)
    reason = f"<p>{escape(_reason(job))}</p>" if job.reason or job.waiting else ""
    drawn = "".join(curve_svg(metric, title) for title, metric in curves.items())
    return (
        f"<div><p>job <b>{escape(job.job_id)}</b> is {_state(job.status)}</p>"
        f"<table><tr>{head}</tr>{rows}</table>{reason}{drawn}</div>"
    )


def curve_svg(metric: Metric, title: str = "") -> str:
    """Return a metric as a small drawing, empty for one with fewer than two values."""
    points = [(step, value) for step, value in metric.points if math.isfinite(value)]
    if len(points) < 2:
        return ""
    xs, ys = _scaled([p[0] for p in points], WIDTH), _scaled([-p[1] for p in points], HEIGHT)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    name = escape(title or metric.name)
    ends = f"{points[0][1]:.4g} to {points[-1][1]:.4g}"
    return (
        f'<figure style="display:inline-block;margin:4px"><svg width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{name}"><polyline points="{line}" fill="none" stroke="#1565c0" stroke-width="1.5"/></svg>'
        f"<figcaption>{name}: {ends} in {len(points)} steps</figcaption></figure>"
    )


def curves_of(task: str, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metric that is worth a curve, by its title: the loss before all others; empty without one."""
    drawn = next((metrics[name] for name in CURVES if name in metrics and len(metrics[name].points) > 1), None)
    return {f"{task} {drawn.name}": drawn} if drawn else {}


def _row(job: Job, task: Task) -> str:
    states = "".join(f"<td>{_state(job.status_of(task, party))}</td>" for party in job.parties)
    share = round(100 * task.share)
    bar = f'<progress max="100" value="{share}"></progress>' if task.status == "running" and task.total else ""
    note = escape(task.cause or task.note)
    return (
        f"<tr><td>{escape(task.name)}</td><td>{escape(task.component)}</td>{states}<td>{bar}</td><td>{note}</td></tr>"
    )


def _state(status: str) -> str:
    return f'<span style="color:{_COLOURS.get(status, "inherit")}">{escape(status)}</span>'


def _reason(job: Job) -> str:
    reason = job.reason or job.waiting
    assert reason is not None
    task = f", task {reason.task}" if reason.task else ""
    return f"{reason.party}{task}: {reason.cause or reason.code}"


def _scaled(values: Sequence[float], size: int) -> list[float]:
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return [EDGE + (value - low) / span * (size - 2 * EDGE) for value in values]


class _Shown(Protocol):
    def update(self, shown: object) -> None: ...


class _Display(Protocol):
    def display(self, shown: object, *, display_id: bool) -> _Shown: ...

    def HTML(self, data: str) -> object: ...  # noqa: N802  (IPython's own name)


class Cell:
    """The part of a notebook that shows one job, drawn anew with each change."""

    def __init__(self, ipython: _Display) -> None:
        self._ipython = ipython
        self._shown: _Shown | None = None

    def __call__(self, html: str) -> None:
        """Show ``html`` in place of what was shown."""
        drawn = self._ipython.HTML(html)
        if self._shown is None:
            self._shown = self._ipython.display(drawn, display_id=True)
        else:
            self._shown.update(drawn)


def cell() -> Cell | None:
    """Return a place to draw when this runs in a notebook, else None."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return Cell(cast("_Display", import_module("IPython.display")))
