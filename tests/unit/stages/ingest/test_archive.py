"""A hostile archive is refused as a whole, before anything is read from it."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from tunesmith.core.errors import PackageError
from tunesmith.stages.ingest.archive import glob_expression, open_archive


def archive_with(tmp_path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    path = tmp_path / "some.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.txt", b"good")
        for name, data in members:
            archive.writestr(name, data)
    return path


def opened(path: Path) -> list[str]:
    with open_archive(path, "some.whl") as archive:
        return archive.namelist()


def test_an_honest_archive_is_opened(tmp_path: Path) -> None:
    assert opened(archive_with(tmp_path, ("a/b.txt", b"x" * 1000), ("a/", b""))) == [
        "good.txt",
        "a/b.txt",
        "a/",
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "not plain"),
        ("a/../../evil", "not plain"),
        ("a/./b", "not plain"),
        ("a//b", "not plain"),
        ("/etc/passwd", "absolute"),
        ("C:/evil", "absolute"),
        ("a\\..\\evil", "backslash"),
        ("a\nb", "control"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(PackageError, match=reason) as caught:
        opened(archive_with(tmp_path, (name, b"x")))
    assert caught.value.remedy


def test_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    path = archive_with(tmp_path, ("evilX.txt", b"x"))
    path.write_bytes(path.read_bytes().replace(b"evilX.txt", b"evil\0.txt"))
    with pytest.raises(PackageError, match="control"):
        opened(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (kind | 0o777) << 16
    with pytest.raises(PackageError, match="link or a device"):
        opened(archive_with(tmp_path, (info, b"/etc/passwd")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="there twice"):
        opened(archive_with(tmp_path, ("a", b"1"), ("a", b"2")))


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = archive_with(tmp_path)
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1  # general purpose flags of the central directory's first entry
    path.write_bytes(bytes(data))
    with pytest.raises(PackageError, match="encrypted"):
        opened(path)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="unpacks"):
        opened(archive_with(tmp_path, ("zeros", b"\0" * (8 << 20))))


def test_what_is_no_whole_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.whl"
    path.write_bytes(b"no zip at all")
    with pytest.raises(PackageError, match="not a whole zip"):
        opened(path)


def test_damage_inside_a_member_is_found(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.txt", b"the very text")
    path = tmp_path / "some.whl"
    path.write_bytes(buffer.getvalue().replace(b"the very text", b"the vary text"))
    with (
        pytest.raises(PackageError, match="not a whole zip"),
        open_archive(path, "some.whl") as opened_archive,
    ):
        opened_archive.read("a.txt")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("rules/*.RULE", "rules/mit.RULE", True),
        ("rules/*.RULE", "rules/old/mit.RULE", False),
        ("rules/*.RULE", "data/rules/mit.RULE", False),
        ("rules/**/*.RULE", "rules/mit.RULE", True),
        ("rules/**/*.RULE", "rules/a/b/mit.RULE", True),
        ("**", "a/b", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
    ],
)
def test_globs(pattern: str, name: str, expected: bool) -> None:
    assert bool(glob_expression(pattern).fullmatch(name)) is expected
