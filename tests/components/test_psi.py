"""psi as a task: alignment, repeated ids, floors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partyd.components.alignment import BLOCK_BYTES, aligned
from partyd.components.limits import Limits
from partyd.components.simulate import Seat, TaskRun
from partyd.data.table import Table
from partyd.errors import BelowFloor, DataError
from partyd.federation.simulate import Faults
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


def intersect(
    folder: Path, given: dict[str, object], *, limits: Limits | None = None, faults: Faults | None = None
) -> TaskRun:
    """Run psi on a guest with label and a host, who share b and c."""
    files = seats(
        folder,
        g=table(["a", "b", "c"], {"x": [1, 2, 3]}, [0, 1, 0]),
        h=table(["c", "b", "z", "b"], {"z": [7, 8, 9, 10]}),
    )
    parties = {G: files["g"], H: files["h"]}
    made = {p: Seat(given, {"input_data": path}, limits=limits or Limits()) for p, path in parties.items()}
    return task("psi", made, folder, faults=faults)


@pytest.mark.parametrize("protocol", ["ecdh_psi", "rsa_psi"])
def test_both_protocols_give_the_same_tables(tmp_path: Path, protocol: str) -> None:
    done = intersect(tmp_path, {"protocol": protocol})
    assert output(done, G).ids.tolist() == output(done, H).ids.tolist() == [b"b", b"c"]
    assert output(done, H).features[:, 0].tolist() == [8, 7]
    assert output(done, G).require_label().tolist() == [1, 0]
    assert document(done, G)["method"] == {"ecdh_psi": "curve25519", "rsa_psi": "rsa"}[protocol]
    assert not (done.outputs[G] / "working").exists()


def test_a_left_join_gives_hosts_missing_values(tmp_path: Path) -> None:
    done = intersect(tmp_path, {"join_method": "left_join"})
    ours, theirs = output(done, G), output(done, H)
    assert sorted(ours.ids.tolist()) == [b"a", b"b", b"c"]
    beside = dict(zip(ours.ids.tolist(), theirs.features[:, 0].tolist(), strict=True))
    assert np.isnan(beside.pop(b"a"))
    assert beside == {b"b": 8, b"c": 7}
    names = dict(zip(ours.ids.tolist(), theirs.ids.tolist(), strict=True))
    assert names.pop(b"a").startswith(b"absent_")
    assert names == {b"b": b"b", b"c": b"c"}
    assert document(done, H)["intersect_count"] == document(done, H)["id_count"] == 2


def test_a_left_join_repeats_samples_of_one_person(tmp_path: Path) -> None:
    guest = table(["s0", "s1", "s2"], {"x": [0, 1, 2]}, [0, 1, 0], match=["q", "b", "b"])
    files = seats(tmp_path, g=guest, h=table(["t0"], {"z": [5]}, match=["b"]))
    made = {p: Seat({"join_method": "left_join"}, {"input_data": files[name]}) for p, name in ((G, "g"), (H, "h"))}
    done = task("psi", made, tmp_path)
    beside = zip(output(done, G).ids.tolist(), output(done, H).features[:, 0].tolist(), strict=True)
    assert sorted(beside, key=lambda pair: pair[0])[1:] == [(b"s1", 5), (b"s2", 5)]


@pytest.mark.parametrize(
    ("given", "counts", "rows"),
    [
        ({"sync_intersect_ids": False}, (2, None), (2, 0)),
        ({"sync_intersect_ids": False, "join_role": "host"}, (2, 2), (0, 2)),
        ({"cardinality_only": True}, (2, None), (0, 0)),
        ({"cardinality_only": True, "sync_cardinality": True}, (2, 2), (0, 0)),
    ],
)
def test_who_is_told_what(
    tmp_path: Path, given: dict[str, object], counts: tuple[int | None, ...], rows: tuple[int, ...]
) -> None:
    done = intersect(tmp_path, given)
    assert tuple(document(done, p).get("id_count") for p in (G, H)) == counts
    assert tuple(len(output(done, p)) for p in (G, H)) == rows
    assert output(done, H).features.shape[1] == 1


@pytest.mark.parametrize("given", [{"sync_intersect_ids": False}, {"cardinality_only": True}])
def test_a_party_that_wants_a_smallest_intersection_wants_to_be_told(tmp_path: Path, given: dict[str, object]) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        intersect(tmp_path, given, limits=Limits(min_intersection=1))
    assert caught.group_contains(BelowFloor, match="is not told how large")


def test_keys_without_values(tmp_path: Path) -> None:
    done = intersect(tmp_path, {"only_output_key": True})
    for party in (G, H):
        bare = output(done, party)
        assert bare.ids.tolist() == [b"b", b"c"]
        assert (bare.features.shape, bare.label, bare.schema.features, bare.schema.label) == ((2, 0), None, (), None)


def test_repeated_ids_may_be_refused(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        intersect(tmp_path, {"repeated_ids": "refuse"})
    assert caught.group_contains(DataError, match="1 rows repeat an id")


@pytest.mark.parametrize("dies", range(0, 7, 2))
def test_a_death_leaves_the_same_tables(tmp_path: Path, dies: int) -> None:
    calm = intersect(tmp_path / "calm", {"chunk_rows": 2})
    for party in (G, H):
        done = intersect(tmp_path / str(party).replace("/", "-"), {"chunk_rows": 2}, faults=Faults(crash=(party, dies)))
        for at in (G, H):
            assert output(done, at).digest() == output(calm, at).digest()


def test_alignment_goes_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(1).permutation(50).astype(np.int64)
    whole = table([f"u{i}" for i in range(50)], {"x": np.arange(50), "y": -np.arange(50)}, np.arange(50))
    monkeypatch.setattr("partyd.components.alignment.BLOCK_BYTES", 64)
    assert BLOCK_BYTES > 64
    moved = aligned(whole, rows, tmp_path)
    assert isinstance(moved.features, np.memmap)
    assert moved.digest() == whole.take(rows).digest()
