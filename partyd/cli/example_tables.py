"""The tables that the jobs of ``conf/examples`` read, beside the demo's own: made here, or shipped with scikit-learn.

`credit` is the worked example's: customers of a bank who did or did not pay back, drawn by scikit-learn's
``make_classification``. Its columns become what a bank (income, debts, the label ``default``) and a telephone company
(bills, contract) would know, on scales of their own; some tell nothing, two tell what others tell, and some customers
have not named their income. Nothing in it is about real people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partyd.cli.demo_tables import Matrix, Rows, Vector, known_to_each, write

CUSTOMERS = 1600
MISSING_SHARE = 0.04
"""Of all customers, those whose income is not known."""
FEW = 360
"""Customers whose late payments are counted: a Poisson regression takes longer than others."""
SEED = 22


@dataclass(frozen=True)
class ExampleTable:
    """A table that one side uploads; without a label column ``label`` is empty."""

    name: str
    role: str
    file: Path
    label: str = ""


@dataclass(frozen=True)
class Trait:
    """A column: which latent number it shows, whether it rises with the risk, and on what scale it is written."""

    latent: int
    risky: bool
    shown: Callable[[Vector], Vector]


def _rounded(values: Vector, digits: int = 0) -> Vector:
    return np.asarray(np.round(values, digits), dtype=np.float64)


AT_BANK: Mapping[str, Trait] = {
    "income": Trait(0, False, lambda z: _rounded(np.exp(10.4 + 0.45 * z), -2)),
    "debt_ratio": Trait(1, True, lambda z: _rounded(1 / (1 + np.exp(1.2 - 0.8 * z)), 3)),
    "card_use": Trait(2, True, lambda z: _rounded(1 / (1 + np.exp(0.4 - z)), 3)),
    "savings": Trait(9, False, lambda z: _rounded(np.exp(8.0 + 0.9 * z), -1)),
    "age": Trait(5, False, lambda z: np.clip(_rounded(44 + 12 * z), 18, 92)),
    "housing": Trait(6, True, lambda z: np.clip(_rounded(1.8 + 0.9 * z), 1, 3)),
    "branch_km": Trait(11, True, lambda z: _rounded(np.exp(1.0 + 0.7 * z), 1)),
}
"""The bank's columns; ``housing`` is a category: 1 owns, 2 rents, 3 lives with the family."""
AT_TELEPHONE_COMPANY: Mapping[str, Trait] = {
    "late_bills": Trait(3, True, lambda z: np.clip(_rounded(np.exp(0.4 + 0.7 * z) - 0.5), 0, 24)),
    "contract_months": Trait(4, False, lambda z: np.clip(_rounded(30 + 14 * z), 1, 120)),
    "monthly_bill": Trait(8, True, lambda z: _rounded(np.exp(3.4 + 0.35 * z), 2)),
    "top_ups": Trait(10, True, lambda z: np.clip(_rounded(3 + 2 * z), 0, 20)),
    "data_gb": Trait(7, False, lambda z: _rounded(np.exp(2.0 + 0.6 * z), 1)),
    "roaming_days": Trait(12, True, lambda z: np.clip(_rounded(2 + 3 * z), 0, 30)),
    "calls_abroad": Trait(13, True, lambda z: np.clip(_rounded(4 + 4 * z), 0, 60)),
}
HOMO = ("income", "debt_ratio", "card_use", "savings", "age")
"""What two banks both note of their own customers."""


def write_tables(folder: Path) -> tuple[ExampleTable, ...]:
    """Write a CSV file for each table, named as the table, and return what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    return (*_credit(folder), *_diabetes(folder))


def customers() -> tuple[Matrix, Vector]:
    """Return the latent numbers of every customer, each with mean 0 and deviation 1, and who did not pay back."""
    from sklearn.datasets import make_classification

    latent, default = make_classification(
        CUSTOMERS,
        n_features=14,
        n_informative=9,
        n_redundant=2,
        n_clusters_per_class=1,
        weights=[0.78],
        class_sep=0.6,
        flip_y=0.06,
        shuffle=False,
        random_state=SEED,
    )
    return (latent - latent.mean(axis=0)) / latent.std(axis=0), np.asarray(default, dtype=np.float64)


def _credit(folder: Path) -> tuple[ExampleTable, ...]:
    latent, default = customers()
    chance = np.random.default_rng(SEED)
    bank, company = (_columns(traits, latent, default) for traits in (AT_BANK, AT_TELEPHONE_COMPANY))
    late = chance.poisson(np.exp(0.3 + 0.4 * _towards_risk(latent[:, 1], default))).astype(np.float64)
    guest, host = known_to_each(CUSTOMERS)
    bank_only = {name: bank[name] for name in HOMO}
    half = len(guest) // 2
    rows = dict(bank, income=np.where(chance.random(CUSTOMERS) < MISSING_SHARE, np.nan, bank["income"]))
    return (
        _table(folder, "credit_guest", guest, {"default": default} | rows, "default"),
        _table(folder, "credit_host", host, company),
        _table(folder, "late_guest", guest[:FEW], {"late_payments": late} | bank_only, "late_payments"),
        _table(folder, "homo_guest", guest[:half], {"default": default} | bank_only, "default"),
        _table(folder, "homo_host", guest[half:], {"default": default} | bank_only, "default"),
    )


def _diabetes(folder: Path) -> tuple[ExampleTable, ...]:
    """Write scikit-learn's diabetes table, whose label is a number, in two parts."""
    from sklearn.datasets import load_diabetes

    table = load_diabetes(scaled=False)
    columns = {str(name): np.asarray(table.data[:, j]) for j, name in enumerate(table.feature_names)}
    first = dict(list(columns.items())[:4])
    rest = {name: values for name, values in columns.items() if name not in first}
    guest, host = known_to_each(len(table.target))
    progress = np.asarray(table.target, dtype=np.float64)
    return (
        _table(folder, "diabetes_guest", guest, {"progress": progress} | first, "progress"),
        _table(folder, "diabetes_host", host, rest),
    )


def _columns(traits: Mapping[str, Trait], latent: Matrix, default: Vector) -> dict[str, Vector]:
    found = {}
    for name, trait in traits.items():
        z = _towards_risk(latent[:, trait.latent], default)
        found[name] = trait.shown(z if trait.risky else -z) + 0.0  # no -0
    return found


def _towards_risk(z: Vector, default: Vector) -> Vector:
    """Return the numbers with the sign that makes them rise with the share of those who did not pay back."""
    return z if float(z[default == 1].mean()) >= float(z[default == 0].mean()) else -z


def _table(
    folder: Path, name: str, rows: Rows, columns: Mapping[str, NDArray[np.float64]], label: str = ""
) -> ExampleTable:
    file = folder / f"{name}.csv"
    write(file, ["id", *columns], (_line(int(row), list(columns.values())) for row in rows))
    return ExampleTable(name, "guest" if name.endswith("_guest") else "host", file, label)


def _line(row: int, columns: Sequence[Vector]) -> list[str]:
    return [f"user-{row:06d}", *("" if np.isnan(values[row]) else f"{values[row]:g}" for values in columns)]
