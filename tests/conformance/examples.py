"""A tiny run of every registered algorithm: parameters, and data by address."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partyd.algorithms.binning_parameters import LabelSumsParams
from partyd.algorithms.class_count import ClassCountParams
from partyd.algorithms.column_choice import Chooser, ColumnChoiceParams, Offered
from partyd.algorithms.cross_correlation import Columns, CrossCorrelationParams
from partyd.algorithms.data_split import DataSplitParams, Splittable
from partyd.algorithms.homo_lr_parameters import HomoLrParams
from partyd.algorithms.homo_lr_rows import HomoRows
from partyd.algorithms.label_sums import GuestLabels, HostBins
from partyd.algorithms.linear_score import LinearScoreParams, Scored
from partyd.algorithms.lr_parameters import CoordinatedLinrParams, CoordinatedLrParams, CoordinatedPoissonParams
from partyd.algorithms.lr_rows import Labelled
from partyd.algorithms.merge_parameters import ModelMergeParams
from partyd.algorithms.millionaires import MillionairesParams
from partyd.algorithms.model_merge import Linear, Request
from partyd.algorithms.psi_files import Compared
from partyd.algorithms.psi_parameters import PsiParams, RsaParams
from partyd.algorithms.row_repeats import Common, RowRepeatsParams
from partyd.algorithms.sample import Drawable, SampleParams
from partyd.algorithms.secure_sum import SecureSumParams
from partyd.algorithms.secureboost_messages import GuestRows, HostRecord, HostRows
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_score import Forest, Kept, ScoreParams
from partyd.algorithms.secureboost_trees import Node, Tree
from partyd.federation.algorithm import Params
from partyd.types import ARBITER, GUEST, HOST, Address

G, H1, H2, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST), Address("1", ARBITER)


@dataclass(frozen=True)
class Example:
    """What `simulate` takes."""

    params: Params
    data: Mapping[Address, object]


class InsecureLrParams(CoordinatedLrParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


class InsecureLinrParams(CoordinatedLinrParams):
    """The same."""

    @property
    def key_bits(self) -> int:
        return 512


class InsecurePoissonParams(CoordinatedPoissonParams):
    """The same."""

    @property
    def key_bits(self) -> int:
        return 512


class InsecureCorrelationParams(CrossCorrelationParams):
    """The same."""

    @property
    def key_bits(self) -> int:
        return 512


def cross_correlation() -> Example:
    x = np.random.default_rng(6).normal(size=(12, 5))
    return Example(
        InsecureCorrelationParams(),
        {G: Columns(x[:, :2], ("g0", "g1")), H1: Columns(x[:, 2:4], ("a0", "a1")), H2: Columns(x[:, 4:], ("b0",))},
    )


class InsecureSumsParams(LabelSumsParams):
    """The same."""

    @property
    def key_bits(self) -> int:
        return 512


def column_choice() -> Example:
    def longer_names(hosts: Mapping[str, Sequence[str]]) -> dict[str, list[bool]]:
        return {peer: [len(name) > 1 for name in names] for peer, names in hosts.items()}

    return Example(ColumnChoiceParams(), {G: Chooser(longer_names), H1: Offered(("a", "bb")), H2: Offered(())})


def label_sums() -> Example:
    random = np.random.default_rng(7)
    labels, codes = GuestLabels(random.integers(0, 2, 20), 1), random.integers(0, 4, (20, 3)).astype(np.int16)
    names, bins = ("h0", "h1", "h2"), np.array([3, 3, 3])
    woe = {"host_woe_rows": 4, "host_woe_events": 1, "host_woe_bits": 9.0}
    params = InsecureSumsParams.model_validate({"n_bins": 2, "host_woe": True, "block_rows": 8} | woe)
    other = HostBins(("o0",), codes[:, :1], np.array([3]), wants_woe=True)
    return Example(params, {G: labels, H1: HostBins(names, codes, bins, joins=2), H2: other})


def secure_sum() -> Example:
    return Example(SecureSumParams(data_num=5), {G: np.arange(5.0), H1: np.ones(5)})


def coordinated_lr() -> Example:
    random = np.random.default_rng(3)
    x = random.normal(size=(24, 4))
    y = (x.sum(axis=1) > 0).astype(np.float64)
    params = InsecureLrParams.model_validate(
        {
            "epochs": 2,
            "batch_size": 12,
            "tol": 0,
            "early_stop": "weight_diff",
            "init_param": {"method": "random_uniform"},
        }
    )
    weight = np.linspace(0.5, 2, len(y))
    return Example(params, {G: Labelled(x[:, :2], y, weight), H1: x[:, 2:3], H2: x[:, 3:], A: None})


def coordinated_linr() -> Example:
    x = np.random.default_rng(3).normal(size=(24, 4))
    given = {"epochs": 2, "batch_size": 12, "tol": 0, "early_stop": "weight_diff"}
    weight, guest = np.linspace(0.5, 2, len(x)), (x[:, :2], x.sum(axis=1))
    data = {G: Labelled(*guest, weight), H1: x[:, 2:3], H2: x[:, 3:], A: None}
    return Example(InsecureLinrParams.model_validate(given), data)


def coordinated_poisson() -> Example:
    random = np.random.default_rng(3)
    x, exposure, weight = random.normal(size=(24, 4)), random.uniform(1, 2, 24), np.linspace(0.5, 2, 24)
    y = random.poisson(exposure * np.exp(0.3 * x.sum(axis=1))).astype(np.float64)
    guest = Labelled(x[:, :2], y, weight, exposure=exposure)
    given = {"epochs": 2, "batch_size": 12, "tol": 0}
    return Example(InsecurePoissonParams.model_validate(given), {G: guest, H1: x[:, 2:3], H2: x[:, 3:], A: None})


def linear_score() -> Example:
    random = np.random.default_rng(4)
    data = {party: Scored(random.normal(size=(3, 2)), random.normal(size=2)) for party in (G, H1, H2)}
    return Example(LinearScoreParams(), data)


class InsecureRsaParams(RsaParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


class InsecurePsiParams(PsiParams):
    """With such keys."""

    rsa_params: InsecureRsaParams = InsecureRsaParams()


def compared(sets: Mapping[Address, Sequence[str]]) -> dict[Address, object]:
    """Return each party's ids with a folder of its own, which goes when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="partyd-psi-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    arrays = {party: np.array([i.encode() for i in ids], dtype="S16") for party, ids in sets.items()}
    return {party: Compared.of(ids, folder / str(party).replace("/", "-")) for party, ids in arrays.items()}


PSI_SETS = {G: ["a", "b", "c", "d", "e"], H1: ["c", "b", "x"], H2: ["e", "b", "c", "y"]}


def psi() -> Example:
    return Example(PsiParams(chunk_rows=2), compared(PSI_SETS))


def rsa_psi() -> Example:
    return Example(InsecurePsiParams(protocol="rsa_psi", chunk_rows=2), compared(PSI_SETS))


def millionaires() -> Example:
    x, y = np.array([1, 5, 2**64 - 1], np.uint64), np.array([2, 5, 2**63], np.uint64)
    return Example(MillionairesParams(chunk_rows=2), {G: x, H1: y})


def data_split() -> Example:
    label = np.array([0.0, 1.0] * 6)
    return Example(DataSplitParams(stratified=True), {G: Splittable(12, label), H1: Splittable(12), H2: Splittable(12)})


def sample() -> Example:
    params, label = SampleParams(frac={0: 0.5, 1: 2.0}, replace=True), np.array([0.0, 1.0] * 6)
    return Example(params, {G: Drawable(12, label), H1: Drawable(12), H2: Drawable(12)})


def row_repeats() -> Example:
    return Example(RowRepeatsParams(), {G: Common(3, np.array([1, 3, 2])), H1: Common(3), H2: Common(3)})


def class_count() -> Example:
    return Example(ClassCountParams(), {G: 4, H1: None, H2: None, A: None})


def homo_lr() -> Example:
    random = np.random.default_rng(5)
    x = random.normal(size=(24, 2))
    y = np.floor(random.uniform(size=24) * 3)
    params = HomoLrParams(epochs=2, batch_size=10, ovr=True, label_num=3, tol=0)
    parts = {G: slice(0, 10), H1: slice(10, 17), H2: slice(17, 24)}
    return Example(params, {p: HomoRows(("a", "b"), x[part], y[part]) for p, part in parts.items()} | {A: None})


class InsecureBoostParams(SecureBoostParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


def hetero_secureboost() -> Example:
    random = np.random.default_rng(6)
    x = random.normal(size=(24, 4))
    y = (x.sum(axis=1) > 0).astype(np.float64)
    given = {"num_trees": 1, "max_depth": 2, "max_bin": 3, "min_child_weight": 0.1, "subsample_feature_rate": 0.9}
    guest = GuestRows(x[:16, :1], x[16:, :1], y=y[:16], held_y=y[16:])
    hosts = {H1: HostRows(x[:16, 1:3], x[16:, 1:3]), H2: HostRows(x[:16, 3:], x[16:, 3:])}
    return Example(InsecureBoostParams.model_validate(given), {G: guest, **hosts})


def secureboost_score() -> Example:
    root = Node(nid=0, depth=0, left=1, right=2, owner=str(H1), column=0, record=0)
    below = Node(nid=1, depth=1, parent=0, left=3, right=4, owner=str(H2), column=0, record=0)
    leaves = [Node(nid=i, depth=1 + (i > 2), parent=int(i > 2), owner="", weight=float(i)) for i in (2, 3, 4)]
    rule, x = HostRecord(column=0, threshold=0.0, missing_left=True), np.array([[-1.0], [1.0], [np.nan]])
    forest = Forest(x, [Tree(nodes=[root, below, *leaves])], 0.5, np.zeros(1))
    return Example(ScoreParams(chunk_transfers=2), {G: forest, H1: Kept(x, [rule]), H2: Kept(x[::-1].copy(), [rule])})


def model_merge() -> Example:
    hosts = {H1: Linear(("a", "b"), np.array([[1.0, -2.0]])), H2: Linear(("c",), np.array([[0.5]]))}
    return Example(ModelMergeParams(), {G: Request(1, {}), **hosts})


EXAMPLES: Mapping[str, Callable[[], Example]] = {
    "secure_sum": secure_sum,
    "coordinated_lr": coordinated_lr,
    "coordinated_linr": coordinated_linr,
    "coordinated_poisson": coordinated_poisson,
    "linear_score": linear_score,
    "cross_correlation": cross_correlation,
    "psi": psi,
    "rsa_psi": rsa_psi,
    "millionaires": millionaires,
    "data_split": data_split,
    "sample": sample,
    "row_repeats": row_repeats,
    "class_count": class_count,
    "label_sums": label_sums,
    "column_choice": column_choice,
    "homo_lr": homo_lr,
    "model_merge": model_merge,
    "hetero_secureboost": hetero_secureboost,
    "secureboost_score": secureboost_score,
}
