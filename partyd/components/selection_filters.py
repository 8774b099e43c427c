"""Which columns a filter leaves over: plain functions of the columns in question and what is known of them.

A filter returns whether each column stays and, where it has one, the number that it went by. A number that is not known
(a statistic that is not defined) meets no demand. ``top_percentile`` p keeps the best ceil(p n) of n, as FATE 1.x does;
ties go to the column that comes first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partyd.components.columns import column
from partyd.components.feature_correlation import inflation
from partyd.components.selection_parameters import HeteroFeatureSelectionParams, Rule
from partyd.data.table import Table
from partyd.errors import DataError

Vector = NDArray[np.float64]
Numbers = Mapping[str, float | None]


@dataclass(frozen=True)
class Verdict:
    """Whether each column stays, in the order in question, and the numbers behind it by metric."""

    stays: dict[str, bool]
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def with_one(self, best: Sequence[str]) -> Verdict:
        """Return this verdict, the first of ``best`` staying where no column does."""
        if any(self.stays.values()) or not best:
            return self
        return Verdict(self.stays | {best[0]: True}, self.metrics)


def by_rules(names: Sequence[str], rules: Sequence[Rule], known: Mapping[str, Numbers], *, keep_one: bool) -> Verdict:
    """Return which columns meet every rule, by each metric's numbers; raises DataError where ``known`` lacks one."""
    metrics: dict[str, dict[str, float | None]] = {}
    for rule in rules:
        values = known.get(rule.metric, {})
        for name in names:
            if name not in values:
                raise DataError(
                    f"the input models do not have the {rule.metric} of the column {name}; train them with it, "
                    "or name the columns to be looked at in select_col"
                )
        metrics[rule.metric] = {name: values[name] for name in names}
    stays = dict.fromkeys(names, True)
    for rule in rules:
        values = metrics[rule.metric]
        order = _best_first(names, values, take_high=rule.take_high)
        if rule.filter_type == "threshold":
            fits = {name for name, v in values.items() if v is not None and _reaches(v, rule)}
        else:
            share = rule.filter_type == "top_percentile"
            count = math.ceil(rule.threshold * len(names) - 1e-9) if share else int(rule.threshold)
            fits = set(order[:count]) if count or share else set(names)
        stays = {name: stay and name in fits for name, stay in stays.items()}
    verdict = Verdict(stays, metrics)
    first = rules[0]
    return (
        verdict.with_one(_best_first(names, metrics[first.metric], take_high=first.take_high)) if keep_one else verdict
    )


def _reaches(value: float, rule: Rule) -> bool:
    return value >= rule.threshold if rule.take_high else value <= rule.threshold


def _best_first(names: Sequence[str], values: Numbers, *, take_high: bool) -> list[str]:
    def badness(name: str) -> float:
        value = values[name]
        return math.inf if value is None else -value if take_high else value

    return sorted(names, key=badness)


def manual(names: Sequence[str], out: Sequence[str], keep: Sequence[str], left: Sequence[str] | None) -> Verdict:
    """Return the verdict of a job's own lists; ``left`` None: all but those that are filtered out."""
    stays = {name: (left is None or name in left) and name not in out for name in names}
    return Verdict(stays | dict.fromkeys(keep, True))


def by_values(method: str, table: Table, names: Sequence[str], params: HeteroFeatureSelectionParams) -> Verdict:
    """Return the verdict of a filter that looks at the values themselves."""
    numbers = {name: _number(method, column(table, name), params) for name in names}
    limit, take_high = {
        "unique_value": (params.unique_param.eps, True),
        "percentage_value": (params.percentage_value_param.upper_pct, False),
        "missing": (params.missing_param.upper_pct, False),
        "coefficient_of_variation": (params.variance_coe_param.value_threshold, True),
        "outlier": (params.outlier_param.upper_threshold, False),
    }[method]
    above = method == "unique_value"
    rule = Rule(method, "threshold", math.nextafter(limit, math.inf) if above else limit, take_high)
    return by_rules(names, [rule], {method: numbers}, keep_one=params.keep_one)


def _number(method: str, values: Vector, params: HeteroFeatureSelectionParams) -> float | None:
    known = values[~np.isnan(values)]
    if method == "missing":
        return 1.0 - len(known) / max(len(values), 1)
    if not len(known):
        return None
    if method == "unique_value":
        return float(known.max() - known.min())
    if method == "percentage_value":
        return float(np.unique(known, return_counts=True)[1].max()) / len(values)
    if method == "outlier":
        return float(np.quantile(known, params.outlier_param.percentile))
    mean = float(known.mean())
    return abs(float(known.std()) / mean) if mean else None


def by_inflation(
    names: Sequence[str], local: Mapping[str, Mapping[str, float]], threshold: float, *, keep_one: bool
) -> Verdict:
    """Return the columns whose variance inflation stays within the threshold.

    The column of the largest factor goes first, one at a time, and the others are computed again without it: of two
    copies one stays. A column that depends on others wholly has no factor and counts as the largest; one that
    correlates with none has 1. Among equals the last column goes.
    """
    left, found = list(names), dict[str, float | None]()
    while left:
        matrix = np.array([[float(local[a][b]) for b in left] for a in left], dtype=np.float64)
        alone = np.count_nonzero(matrix, axis=1) == 1
        inflated = [1.0 if one else v for one, v in zip(alone.tolist(), inflation(matrix), strict=True)]
        factors = dict(zip(left, inflated, strict=True))
        found = found or dict(factors)
        size = {name: math.inf if value is None else value for name, value in factors.items()}
        worst = max(reversed(left), key=size.__getitem__)
        if size[worst] <= threshold:
            break
        left.remove(worst)
    verdict = Verdict({name: name in left for name in names}, {"vif": {name: found[name] for name in names}})
    return verdict.with_one(list(names)) if keep_one else verdict


Column = tuple[str, str]
"""Whose column, and its name."""


def by_correlation(
    columns: Sequence[Column],
    sort_by: Mapping[Column, float],
    correlation: Mapping[tuple[Column, Column], float],
    threshold: float,
) -> dict[Column, bool]:
    """Return which columns stay when, from the best on, each that stays drives out what correlates with it.

    Pairs that ``correlation`` does not have (of two hosts' columns, say) are taken to be independent.
    """
    stays = dict.fromkeys(columns, True)
    for best in sorted(columns, key=lambda one: -sort_by[one]):
        for other in columns if stays[best] else ():
            value = correlation.get((best, other), correlation.get((other, best), 0.0))
            if other != best and abs(value) > threshold:
                stays[other] = False
    return stays
