"""What the demo prints: titles, the loss curve, and the comparison with a model on the pooled table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import click

from partyd.cli.demo_federation import DemoError
from partyd.cli.demo_tables import Score
from partyd.cli.flow_context import columns
from partyd.client import Metric

BARS = "▁▂▃▄▅▆▇█"


def insist_on_scikit_learn() -> None:
    """Raise DemoError when the demo's extra is not installed."""
    if find_spec("sklearn") is None:
        raise DemoError("scikit-learn is missing: make demo installs it, or: pip install 'partyd[demo]'")


def title(text: str) -> None:
    """Begin a part."""
    click.echo()
    click.secho(text, bold=True)


def line(text: str) -> None:
    """Say something."""
    click.echo(f"  {text}")


def losses(metrics: Mapping[str, Metric]) -> None:
    """Print the loss by epoch; raises DemoError when the training reported none or did not get better."""
    curve = [value for _, value in metrics["loss"].points] if "loss" in metrics else []
    if len(curve) < 2 or curve[-1] >= curve[0]:
        raise DemoError(f"the loss did not fall: {curve}")
    line(f"loss over {len(curve)} epochs: {curve[0]:.4f} {sparkline(curve)} {curve[-1]:.4f}")


def sparkline(values: Sequence[float]) -> str:
    """Return the values as a row of bars."""
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    return "".join(BARS[round((value - low) / width * (len(BARS) - 1))] for value in values)


def score_of(metrics: Mapping[str, Metric], rows: str = "") -> Score:
    """Return what an evaluation reported; raises DemoError when AUC or KS is missing.

    An evaluation of several kinds of rows puts the kind before the name; ``rows`` says which is meant.
    """
    names = {name: f"{rows}_{name}" if f"{rows}_{name}" in metrics else name for name in ("auc", "ks")}
    missing = set(names.values()) - set(metrics)
    if missing:
        raise DemoError(f"the evaluation reported no {', '.join(sorted(missing))}")
    return Score(0, metrics[names["auc"]].last, metrics[names["ks"]].last)


def compare(ours: Sequence[Score], pooled: Sequence[Score]) -> float:
    """Print both models side by side and return the larger difference in AUC."""
    rows: list[tuple[str, ...]] = [("", "rows", "AUC", "KS", "scikit-learn, pooled: AUC", "KS", "difference in AUC")]
    for name, our, their in zip(("train", "held out"), ours, pooled, strict=True):
        figures = (f"{value:.4f}" for value in (our.auc, our.ks, their.auc, their.ks))
        rows.append((name, str(their.rows), *figures, f"{our.auc - their.auc:+.4f}"))
    for text in columns(rows):
        line(text)
    return max(abs(our.auc - their.auc) for our, their in zip(ours, pooled, strict=True))
