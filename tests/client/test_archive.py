"""Archives are unpacked inside one folder, plain files only."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from partyd.client import StrangeReply
from partyd.client.archive import kind_of, unpack


def test_a_zip_and_a_tar_give_the_same_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.mkdir("empty")
        zipped.writestr("a/b.txt", "hello")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("a/b.txt")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    for name in ("a.zip", "a.tar"):
        (file,) = unpack(tmp_path / name, tmp_path / f"out-{name}")
        assert (file.name, file.read_text()) == ("b.txt", "hello")


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "."])
def test_nothing_is_written_outside(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(zipfile.ZipInfo(name), "x")
    with pytest.raises(StrangeReply, match="lies outside"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "x").exists()


def test_links_and_devices_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("x")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert unpack(tmp_path / "a.tar", tmp_path / "out") == []


def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    with pytest.raises(StrangeReply, match="no archive"):
        unpack(tmp_path / "a", tmp_path / "out")


def test_which_answers_are_unpacked() -> None:
    assert kind_of("application/gzip") == "archive"
    assert kind_of("text/csv") == "file"
