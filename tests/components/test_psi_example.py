"""psi on FATE's example with sample ids: the guest has 569 people in 2139 rows, the host 299 people."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from partyd.components.simulate import Seat
from partyd.data.table import Table
from tests.components.tables import G, H, document, output, saved, table, task
from tests.conftest import SHARED_DATA


def read(name: str, sample_id: str, label: str | None) -> Table:
    with (SHARED_DATA / name).open() as file:
        rows = list(csv.DictReader(file))
    features = [column for column in rows[0] if column not in (sample_id, "id", label)]
    return table(
        [row[sample_id] for row in rows],
        {name: [float(row[name]) for row in rows] for name in features},
        [float(row[label]) for row in rows] if label else None,
        match=[row["id"] for row in rows],
    )


@pytest.mark.needs("shared-data")
def test_every_sample_of_a_common_person_is_kept(tmp_path: Path) -> None:
    guest = read("breast_hetero_guest_sample_id.csv", "mock_id", "y")
    host = read("breast_hetero_host_sample_id.csv", "sample_id", None)
    seats = {
        party: Seat(inputs={"input_data": saved(tmp_path, party.role.label, rows)})
        for party, rows in ((G, guest), (H, host))
    }
    done = task("psi", seats, tmp_path)
    ours, theirs = output(done, G), output(done, H)
    assert ours.matching.tolist() == theirs.matching.tolist()
    assert len(set(ours.matching.tolist())) == document(done, H)["id_count"] == 299
    people = set(host.matching.tolist())
    wanted = [sample for sample, person in zip(guest.ids, guest.matching, strict=True) if person in people]
    assert sorted(ours.ids.tolist()) == sorted(wanted)
    for person in (b"133", b"273"):
        rows = theirs.features[theirs.matching == person]
        assert (rows == host.features[host.matching == person]).all()
