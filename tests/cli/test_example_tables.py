"""The tables of ``conf/examples``: the same every time, of columns that a bank and a telephone company would have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partyd.algorithms.metrics import auc
from partyd.cli import example_tables
from partyd.cli.example_tables import AT_BANK, AT_TELEPHONE_COMPANY, HOMO
from partyd.data.formats import Format
from partyd.data.ingest import read_file
from partyd.data.table import Table


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    folder = tmp_path_factory.mktemp("examples")
    written = example_tables.write_tables(folder / "csv")
    found = {}
    for table in written:
        chosen = Format(label=table.label, sample_id="id") if table.label else Format(sample_id="id")
        found[table.name], _ = read_file(table.file, chosen, folder / table.name)
    return found


def test_each_side_has_its_own_columns_and_partly_the_same_users(tables: dict[str, Table]) -> None:
    bank, company = tables["credit_guest"], tables["credit_host"]
    assert bank.schema.features == tuple(AT_BANK)
    assert company.schema.features == tuple(AT_TELEPHONE_COMPANY)
    assert (bank.schema.label, company.schema.label) == ("default", None)
    common = set(bank.ids.tolist()) & set(company.ids.tolist())
    assert 1000 < len(common) < min(len(bank), len(company))


def test_risk_shows_in_some_columns_and_some_incomes_are_missing(tables: dict[str, Table]) -> None:
    bank = tables["credit_guest"]
    label = np.asarray(bank.require_label())
    assert set(label) == {0, 1}
    assert 0.15 < label.mean() < 0.35
    by_name = dict(zip(bank.schema.features, np.asarray(bank.features).T, strict=True))
    assert 0.01 < np.isnan(by_name["income"]).mean() < 0.1
    assert auc(label, by_name["card_use"]) > 0.65
    assert abs(auc(label, by_name["age"]) - 0.5) < 0.05
    assert set(by_name["housing"]) == {1, 2, 3}


def test_two_banks_have_the_same_columns_and_no_user_in_common(tables: dict[str, Table]) -> None:
    one, other = tables["homo_guest"], tables["homo_host"]
    assert one.schema.features == other.schema.features == HOMO
    assert one.label is not None
    assert other.label is not None
    assert not set(one.ids.tolist()) & set(other.ids.tolist())


def test_the_labels_of_regressions_are_numbers(tables: dict[str, Table]) -> None:
    late = np.asarray(tables["late_guest"].require_label())
    assert late.min() == 0
    assert late.max() > 3
    assert np.array_equal(late, np.floor(late))
    assert np.asarray(tables["diabetes_guest"].require_label()).max() > 300


def test_the_files_are_the_same_every_time(tmp_path: Path) -> None:
    once, again = (example_tables.write_tables(tmp_path / name) for name in ("once", "again"))
    assert [table.file.name for table in once] == [f"{table.name}.csv" for table in once]
    assert [table.file.read_bytes() for table in once] == [table.file.read_bytes() for table in again]
