"""The modules of FATE 1.x that have a counterpart: a line for each port and parameter.

``defaults`` are the values that 1.x takes where a job says nothing and our component would take another: they are
written out, so that a translated job trains what it trained before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from partyd.dsl.column_parameters import BINNING, SELECTION
from partyd.dsl.homo_parameters import HOMO_LR, HOMO_LR_DEFAULTS
from partyd.dsl.local_parameters import CREDIT, EXPANSION, IMPUTATION, LABELS, ONE_HOT, WEIGHTS
from partyd.dsl.parameters import (
    AT_UPLOAD,
    BOOSTING,
    BOOSTING_DEFAULTS,
    COORDINATED,
    COORDINATED_COUNTS,
    COORDINATED_NUMBERS,
    CORRELATION,
    DECAYS,
    EVALUATION,
    GRADIENT_DEFAULTS,
    PSI,
    SAMPLE,
    SCALE,
    SPLIT,
    SSHE,
    SSHE_DEFAULTS,
    STATISTICS,
    TOY,
    UNION,
)
from partyd.dsl.rules import Inside, Rule, To

Shape = Literal["folded", "source", "plain", "several", "split", "trained", "judge"]


@dataclass(frozen=True)
class Module:
    """What a module of 1.x is here; ``shape`` says which ports it has."""

    component: str
    shape: Shape
    parameters: Mapping[str, Rule]
    defaults: Mapping[str, object] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    model: str = "output_model"
    notes: tuple[str, ...] = ()


_TABLE = Inside({"name": To(("name",)), "namespace": To(("namespace",))})

MODULES: Mapping[str, Module] = {
    "Reader": Module("reader", "source", {"table": _TABLE}),
    "DataTransform": Module("", "folded", AT_UPLOAD),
    "DataIO": Module("", "folded", AT_UPLOAD),
    "Intersection": Module("psi", "plain", PSI),
    "HeteroDataSplit": Module("data_split", "split", SPLIT, fixed={"hetero_sync": True}),
    "HomoDataSplit": Module("data_split", "split", SPLIT, fixed={"hetero_sync": False}),
    "FederatedSample": Module("sample", "plain", SAMPLE),
    "FeatureScale": Module("feature_scale", "trained", SCALE, {"method": "standard_scale"}),
    "DataStatistics": Module("statistics", "plain", STATISTICS, {"statistics": "summary"}),
    "Union": Module("union", "several", UNION, {"keep_duplicate": False}),
    "OneHotEncoder": Module("one_hot_encoder", "trained", ONE_HOT),
    "FeatureImputation": Module("feature_imputation", "trained", IMPUTATION),
    "LabelTransform": Module("label_transform", "trained", LABELS),
    "SampleWeight": Module("sample_weight", "trained", WEIGHTS),
    "ColumnExpand": Module("column_expand", "trained", EXPANSION),
    "Scorecard": Module("scorecard", "trained", CREDIT),
    "HeteroFeatureBinning": Module(
        "hetero_feature_binning", "trained", BINNING, {"transform_param": {"transform_type": "bin_num"}}
    ),
    "HeteroFeatureSelection": Module(
        "hetero_feature_selection", "trained", SELECTION, {"filter_methods": ["manually"]}, model="train_output_model"
    ),
    "HeteroPearson": Module("feature_correlation", "plain", CORRELATION),
    "HeteroLR": Module("coordinated_lr", "trained", COORDINATED, GRADIENT_DEFAULTS, notes=(DECAYS,)),
    "HeteroLinR": Module(
        "coordinated_linr",
        "trained",
        COORDINATED_NUMBERS,
        {**GRADIENT_DEFAULTS, "max_iter": 20, "optimizer": "sgd"},
        notes=(DECAYS,),
    ),
    "HeteroPoisson": Module(
        "coordinated_poisson",
        "trained",
        COORDINATED_COUNTS,
        {**GRADIENT_DEFAULTS, "max_iter": 20},
        notes=(DECAYS,),
    ),
    "HeteroSSHELR": Module("sshe_lr", "trained", SSHE, SSHE_DEFAULTS, notes=(DECAYS,)),
    "HeteroSSHELinR": Module("sshe_linr", "trained", SSHE, {**SSHE_DEFAULTS, "max_iter": 20}, notes=(DECAYS,)),
    "HomoLR": Module("homo_lr", "trained", HOMO_LR, HOMO_LR_DEFAULTS, notes=(DECAYS,)),
    "HeteroSecureBoost": Module("hetero_secureboost", "trained", BOOSTING, BOOSTING_DEFAULTS),
    "HeteroFastSecureBoost": Module("hetero_secureboost", "trained", BOOSTING, BOOSTING_DEFAULTS),
    "Evaluation": Module("evaluation", "judge", EVALUATION, {"pos_label": 1}),
    "SecureAddExample": Module("toy_example", "source", TOY, {"data_num": 1000}),
}
"""By the module's name in a DSL; an issue that adds a component adds its line here."""

WITHOUT: Mapping[str, str] = {
    "HeteroNN": "its network is written otherwise in FATE 2: write a DAG with hetero_nn",
    "HomoNN": "its network is written otherwise in FATE 2: write a DAG with homo_nn",
    "Upload": "upload the table with flow data upload before the job",
    "Download": "fetch outputs with flow output download-data after the job",
    "Writer": "fetch outputs with flow output download-data after the job",
}
"""What to do instead of some modules that have no counterpart."""
