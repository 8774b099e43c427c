"""The parameters of hetero_feature_selection: FATE 2.2's filters, and those of FATE 1.x under ``method``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, NonNegativeInt, model_validator

from partyd.algorithms.parameters import FateParams, Settings, lower

FilterType = Annotated[Literal["threshold", "top_k", "top_percentile"], BeforeValidator(lower)]


def _as_tuple(given: Any) -> Any:
    return given if isinstance(given, list | tuple) else (given,)


def _method(given: Any) -> Any:
    word = lower(given)
    return "iv" if word == "binning" else word


def _one(given: Any) -> Any:
    return given[0] if isinstance(given, list) and len(given) == 1 else given


def _repeated(given: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    return given * count if len(given) == 1 else given


def _insist_on_threshold(filter_type: str, threshold: float) -> None:
    if filter_type == "top_k" and (threshold < 0 or threshold != int(threshold)):
        raise ValueError(f"top_k takes a whole number, not {threshold}")
    if filter_type == "top_percentile" and not 0 <= threshold <= 1:
        raise ValueError(f"top_percentile takes a share between 0 and 1, not {threshold}")


Words = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
FilterTypes = Annotated[tuple[FilterType, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Numbers = Annotated[tuple[FiniteFloat, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
HostNumbers = Annotated[
    tuple[FiniteFloat | tuple[FiniteFloat, ...], ...], BeforeValidator(_as_tuple), Field(min_length=1)
]
Flags = Annotated[tuple[bool, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Method = Annotated[
    Literal[
        "manual",
        "iv",
        "statistics",
        "correlation",
        "vif",
        "unique_value",
        "percentage_value",
        "missing",
        "coefficient_of_variation",
        "outlier",
    ],
    BeforeValidator(_method),
]


@dataclass(frozen=True)
class Rule:
    """One demand on a metric: at least (``take_high``) or at most a threshold, or among the best."""

    metric: str
    filter_type: str
    threshold: float
    take_high: bool


class FilterParam(Settings):
    """Lists of one length, or of one element that holds for all."""

    metrics: Words
    filter_type: FilterTypes = ("threshold",)
    threshold: Numbers = (1.0,)
    take_high: Flags = (True,)

    @model_validator(mode="after")
    def _lengths_match(self) -> FilterParam:
        lists = (self.metrics, self.filter_type, self.threshold, self.take_high)
        most = max(map(len, lists))
        if any(len(given) not in (1, most) for given in lists):
            raise ValueError("metrics, filter_type, threshold and take_high differ in length; give one or as many")
        for rule in self.rules():
            _insist_on_threshold(rule.filter_type, rule.threshold)
        return self

    def rules(self) -> tuple[Rule, ...]:
        """Return the demands."""
        most = max(map(len, (self.metrics, self.filter_type, self.threshold, self.take_high)))
        columns = (_repeated(self.metrics, most), _repeated(self.filter_type, most))
        numbers, flags = _repeated(self.threshold, most), _repeated(self.take_high, most)
        return tuple(Rule(*of) for of in zip(*columns, numbers, flags, strict=True))


class IvFilterParam(FilterParam):
    """What is not said of hosts holds for them as for the guest.

    An element of ``host_threshold`` may be a list with a threshold for each host, in the order of their party ids.
    ``mul_class_merge_type`` says how the information values of several classes become one.
    """

    metrics: Words = ("iv",)
    host_filter_type: FilterTypes | None = None
    host_threshold: HostNumbers | None = None
    host_take_high: Flags | None = None
    select_federated: Annotated[bool, BeforeValidator(_one)] = True
    mul_class_merge_type: Annotated[Literal["average", "max", "min"], BeforeValidator(_one)] = "average"

    @model_validator(mode="after")
    def _names_iv(self) -> IvFilterParam:
        if set(self.metrics) != {"iv"}:
            raise ValueError("the metric of the filter iv is iv")
        for filter_type, given in zip(self._types(), self._thresholds(), strict=True):
            for threshold in given if isinstance(given, tuple) else (given,):
                _insist_on_threshold(filter_type, threshold)
        return self

    def host_rules(self, host: int) -> tuple[Rule, ...]:
        """Return the demands on the columns of the ``host``-th host."""
        given = [t[min(host, len(t) - 1)] if isinstance(t, tuple) else t for t in self._thresholds()]
        flags = _repeated(self.host_take_high or self.take_high, len(given))
        return tuple(Rule("iv", *of) for of in zip(self._types(), given, flags, strict=True))

    def _thresholds(self) -> tuple[float | tuple[float, ...], ...]:
        return _repeated(self.host_threshold or self.threshold, self._most())

    def _types(self) -> tuple[str, ...]:
        return _repeated(self.host_filter_type or self.filter_type, self._most())

    def _most(self) -> int:
        lists = (
            self.metrics,
            self.host_filter_type or self.filter_type,
            self.host_threshold or self.threshold,
            self.host_take_high or self.take_high,
        )
        if any(len(given) not in (1, max(map(len, lists))) for given in lists):
            raise ValueError(
                "host_filter_type, host_threshold and host_take_high differ in length; give one or as many"
            )
        return max(map(len, lists))


class StatisticFilterParam(FilterParam):
    """On any statistic that the model of statistics has."""

    metrics: Words = ("mean",)


class ManualFilterParam(Settings):
    """FATE 2.2's two; with ``left_col`` and ``left_idx``, which are 1.x's, nothing but these stays."""

    keep_col: tuple[str, ...] = ()
    filter_out_col: tuple[str, ...] = ()
    filter_out_idx: tuple[NonNegativeInt, ...] = ()
    left_col: tuple[str, ...] | None = None
    left_idx: tuple[NonNegativeInt, ...] | None = None

    @model_validator(mode="after")
    def _is_clear(self) -> ManualFilterParam:
        both = sorted(set(self.keep_col) & set(self.filter_out_col))
        if both:
            raise ValueError(f"keep_col and filter_out_col both name {both[0]!r}; name it in one of them")
        return self


class CorrelationFilterParam(Settings):
    """1.x's: of two columns that correlate beyond the threshold, the one of the lower IV goes."""

    sort_metric: Literal["iv"] = "iv"
    threshold: float = Field(default=0.1, ge=0, le=1)
    select_federated: Annotated[bool, BeforeValidator(_one)] = True


class VifFilterParam(Settings):
    """1.x's threshold: columns with a larger variance inflation factor go, the largest first."""

    threshold: Annotated[FiniteFloat, BeforeValidator(_one)] = Field(default=5.0, ge=1)


class UniqueValueParam(Settings):
    """1.x's: a column whose values differ by no more than ``eps`` goes."""

    eps: FiniteFloat = Field(default=1e-5, ge=0)


class PercentageParam(Settings):
    """The largest share of the rows: that have one and the same value (1.x's), or that lack one."""

    upper_pct: float = Field(default=1.0, ge=0, le=1)


class VarianceOfCoeParam(Settings):
    """1.x's: a column with a smaller coefficient of variation (its absolute value) goes."""

    value_threshold: FiniteFloat = Field(default=1.0, gt=0)


class OutlierParam(Settings):
    """1.x's: a column goes whose ``percentile`` (a share of the rows) is above the threshold."""

    percentile: float = Field(default=1.0, ge=0, le=1)
    upper_threshold: FiniteFloat = 1.0


class HeteroFeatureSelectionParams(FateParams):
    """Filters are applied in the order of ``method``, each to what those before it left over.

    Without ``select_col`` every column is looked at; columns that are not looked at stay.
    """

    method: tuple[Method, ...] = Field(default=("manual",), min_length=1, max_length=20)
    select_col: tuple[str, ...] | None = None
    iv_param: IvFilterParam = IvFilterParam()
    statistic_param: StatisticFilterParam = StatisticFilterParam()
    manual_param: ManualFilterParam = ManualFilterParam()
    correlation_param: CorrelationFilterParam = CorrelationFilterParam()
    vif_param: VifFilterParam = VifFilterParam()
    unique_param: UniqueValueParam = UniqueValueParam()
    percentage_value_param: PercentageParam = PercentageParam()
    missing_param: PercentageParam = PercentageParam(upper_pct=0.9)
    variance_coe_param: VarianceOfCoeParam = VarianceOfCoeParam()
    outlier_param: OutlierParam = OutlierParam()
    keep_one: bool = True
    use_anonymous: bool = False

    @property
    def federated_filters(self) -> dict[int, str]:
        """the filters of method whose param has select_federated, by their place from 0"""
        federated = {"iv": self.iv_param.select_federated, "correlation": self.correlation_param.select_federated}
        return {place: method for place, method in enumerate(self.method) if federated.get(method)}
