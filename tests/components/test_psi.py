"""psi as a task: alignment, repeated ids, floors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partyd.components.limits import Limits
from partyd.components.simulate import Seat
from partyd.data.table import Table
from partyd.errors import BelowFloor
from tests.components.tables import H2, G, H, document, output, saved, table, task


def seats(folder: Path, **tables: Table) -> dict[str, Path]:
    return {name: saved(folder, name, rows) for name, rows in tables.items()}


def test_every_sample_of_the_guest_is_kept_and_hosts_repeat_their_rows(tmp_path: Path) -> None:
    guest = table(
        ["s0", "s1", "s2", "s3", "s4"], {"x": [0, 1, 2, 3, 4]}, [0, 1, 0, 1, 0], match=["b", "a", "b", "q", "c"]
    )
    host = table(["t0", "t1", "t2", "t3"], {"z": [10, 20, 30, 40]}, match=["c", "b", "a", "z"])
    third = table(["b", "a", "c"], {"v": [200, 100, 300]})
    files = seats(tmp_path, guest=guest, host=host, third=third)
    parties = {G: files["guest"], H: files["host"], H2: files["third"]}
    done = task("psi", {p: Seat(inputs={"input_data": path}) for p, path in parties.items()}, tmp_path)
    ours, theirs, others = (output(done, party) for party in (G, H, H2))
    assert ours.matching.tolist() == [b"a", b"b", b"b", b"c"]
    assert ours.ids.tolist() == [b"s1", b"s0", b"s2", b"s4"]
    assert theirs.matching.tolist() == ours.matching.tolist()
    assert theirs.features[:, 0].tolist() == [30, 20, 20, 10]
    assert others.features[:, 0].tolist() == [100, 200, 200, 300]
    assert theirs.ids.tolist() == [b"t2", b"t1", b"t1_1", b"t0"]
    assert document(done, G)["intersect_count"] == 4
    assert document(done, G)["intersect_rate"] == 0.8
    assert document(done, H)["intersect_count"] == 4
    assert document(done, H)["id_count"] == 3


def test_of_a_hosts_rows_of_one_match_id_the_first_is_kept(tmp_path: Path) -> None:
    files = seats(
        tmp_path,
        guest=table(["a", "b"], {"x": [1, 2]}, [0, 1]),
        host=table(["1", "2", "3"], {"z": [5, 6, 7]}, match=["b", "b", "a"]),
    )
    done = task(
        "psi",
        {G: Seat(inputs={"input_data": files["guest"]}), H: Seat(inputs={"input_data": files["host"]})},
        tmp_path,
    )
    assert output(done, H).features[:, 0].tolist() == [7, 5]
    assert document(done, H)["duplicate_count"] == 1


@pytest.mark.parametrize("limits", [Limits(min_rows=4), Limits(min_intersection=3)])
@pytest.mark.parametrize("careful", [G, H])
def test_below_a_partys_floor_it_gives_nothing_out(tmp_path: Path, careful: object, limits: Limits) -> None:
    files = seats(
        tmp_path, g=table(["a", "b", "c"], {"x": [1, 2, 3]}, [0, 1, 0]), h=table(["b", "c", "d"], {"z": [1, 2, 3]})
    )
    parties = {G: files["g"], H: files["h"]}
    given = {
        p: Seat(inputs={"input_data": path}, limits=limits if p == careful else Limits()) for p, path in parties.items()
    }
    with pytest.raises(ExceptionGroup) as caught:
        task("psi", given, tmp_path)
    assert caught.group_contains(BelowFloor, match="policy asks for")
    assert not (tmp_path / f"{careful.party_id}-{careful.role.label}" / "output_data").exists()  # type: ignore[attr-defined]


def test_no_common_id_gives_empty_tables(tmp_path: Path) -> None:
    files = seats(tmp_path, g=table(["a"], {"x": [1]}, [0], match=["k"]), h=table(["b"], {"z": [1]}))
    done = task(
        "psi", {G: Seat(inputs={"input_data": files["g"]}), H: Seat(inputs={"input_data": files["h"]})}, tmp_path
    )
    assert len(output(done, G)) == len(output(done, H)) == 0
    assert document(done, G)["intersect_rate"] == 0
    assert np.asarray(output(done, G).features).shape == (0, 1)
