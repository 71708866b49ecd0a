"""Archives among the files of a source: their members are files, and hostile ones are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from archives import zipped
from tunesmith.core.errors import DataError
from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.run import ingest

MakePackage = Callable[[dict[str, bytes]], Package]
LINES = {"a.jsonl": b'{"n": 1}\n', "deep/b.jsonl": b'{"n": 2}\n{"n": 3}\n', ".hidden": b"{"}


@pytest.fixture
def read(
    ctx: Context, make_package: MakePackage
) -> Callable[..., tuple[list[str], dict[str, str]]]:
    """read(members) -> (pointers of the rows, rule of each refused entry by its pointer)."""

    def run(packed: dict[str, bytes], **settings: Any) -> tuple[list[str], dict[str, str]]:
        members = {"beside.jsonl": b'{"n": 0}\n', **packed}
        config = SourceConfig(name="x", origin="file:x", format="jsonl", **settings)
        asset = ingest(config, ctx, package=make_package(members))
        rows, refused = (
            pq.read_table(io.BytesIO(ctx.blobs.get(blob))).to_pylist()
            for blob in (asset.rows, asset.quarantine)
        )
        assert asset.num_in == len(rows) + len(refused)
        assert rows[0]["pointer"] == "beside.jsonl#1", "a bad archive costs itself alone"
        return [row["pointer"] for row in rows[1:]], {
            row["pointer"]: row["rule"] for row in refused
        }

    return run


def tarred(
    *members: tuple[str | tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT
) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


PACKED: dict[str, Callable[[], bytes]] = {
    "x.zip": lambda: zipped(LINES),
    "x.ZIP": lambda: zipped(LINES),
    "x.tar": lambda: tarred(*LINES.items()),
    "x.tar.gz": lambda: gzip.compress(tarred(*LINES.items())),
    "x.tgz": lambda: gzip.compress(tarred(*LINES.items(), format=tarfile.GNU_FORMAT)),
    "x.tar.bz2": lambda: bz2.compress(tarred(*LINES.items())),
    "x.tar.xz": lambda: lzma.compress(tarred(*LINES.items(), format=tarfile.USTAR_FORMAT)),
}


@pytest.mark.parametrize("name", PACKED)
def test_the_members_of_an_archive_are_files(read: Any, name: str) -> None:
    wanted = [f"{name}/a.jsonl#1", f"{name}/deep/b.jsonl#1", f"{name}/deep/b.jsonl#2"]
    assert read({name: PACKED[name]()}) == (wanted, {})
    assert read({name: PACKED[name]()}, members=["deep/*"]) == (wanted[1:], {})
    assert read({name: PACKED[name]()}, members=["*"])[1] == {f"{name}/.hidden#1": "bad-json"}


def test_a_packed_file_is_the_file(read: Any) -> None:
    assert read({"x.jsonl.gz": gzip.compress(LINES["a.jsonl"])}) == (["x.jsonl#1"], {})


@pytest.mark.parametrize(
    ("name", "data", "by"),
    [
        ("x.jsonl.zst", bytes.fromhex("28b52ffd2009490000") + b'{"n": 1}\n', "zstd"),
        ("x.jsonl.bz2", bz2.compress(LINES["a.jsonl"]), "bzip2"),
        ("x.jsonl.xz", lzma.compress(LINES["a.jsonl"]), "xz"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c\0\4", "7-Zip"),
        ("x.rar", b"Rar!\x1a\x07\x01\0", "RAR"),
        ("x.lz4", b"\x04\x22\x4d\x18d@", "LZ4"),
        ("x.jsonl", gzip.compress(LINES["a.jsonl"], mtime=0), "gzip"),
        ("x.tar/x.zst", b"\x28\xb5\x2f\xfd", "zstd"),
    ],
)
@pytest.mark.parametrize("format", ["jsonl", "csv", "text", "document"])
def test_a_file_that_is_packed_otherwise_is_called_so(
    ctx: Context, make_package: MakePackage, name: str, data: bytes, by: str, format: str
) -> None:
    outer, _, inner = name.partition("/")
    packed = {outer: tarred((inner, data)) if inner else data}
    beside = {"csv": b"n\n0\n", "jsonl": b'{"n": 0}\n'}.get(format, b"Some words.")
    config = SourceConfig(name="x", origin="file:x", format=format, max_quarantined=1.0)
    asset = ingest(config, ctx, package=make_package({"a.txt": beside, **packed}))
    (bad,) = pq.read_table(io.BytesIO(ctx.blobs.get(asset.quarantine))).to_pylist()
    assert (bad["pointer"], bad["rule"]) == (name, "unknown-format")
    assert bad["reason"].startswith(f"it is packed by {by}, and ")
    assert ".zip, .gz, .tar, .tar.gz" in bad["reason"]


def test_words_that_begin_as_a_packed_file_are_words(read: Any) -> None:
    assert read({"x.jsonl": b"BZh is no JSON\n"})[1] == {"x.jsonl#1": "bad-json"}


def test_a_tar_of_a_folder_and_one_with_large_members(read: Any) -> None:
    folder = tarfile.TarInfo("./")
    folder.type = tarfile.DIRTYPE
    large = b'{"n": "%s"}\n' % random.Random(1).randbytes(1 << 19).hex().encode() * 20
    data = tarred((folder, b""), ("./a.jsonl", b'{"n": 1}\n'), ("./large.jsonl", large))
    rows, refused = read({"x.tar": data})
    assert len(rows) == 21
    assert rows[0] == "x.tar/a.jsonl#1"
    assert refused == {}


@pytest.mark.parametrize("name", PACKED)
def test_an_archive_that_is_cut_off_or_changed_yields_nothing(read: Any, name: str) -> None:
    data = PACKED[name]()
    kept = len(data) * 2 // 3
    if name == "x.tar":  # two thirds of it are the zeros at its end
        kept = 1536
    for bad in (data[:kept], b"", b"\0" * 20, b"no archive" * 200):
        rows, refused = read({name: bad})
        assert rows == []
        assert refused == {name: "not-whole"}


def test_a_tar_whose_second_header_is_damaged_is_not_taken_for_a_short_one(read: Any) -> None:
    """Python's tarfile ends the listing there without a word."""
    data = bytearray(tarred(*LINES.items()))
    data[1024 + 150] ^= 0xFF
    assert read({"x.tar": bytes(data)}) == ([], {"x.tar": "not-whole"})


def of_type(kind: bytes, name: str = "x", link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


HOSTILE: dict[str, list[tuple[str | tarfile.TarInfo, bytes]]] = {
    "up": [("../evil.jsonl", b"x")],
    "up inside": [("a/../../evil.jsonl", b"x")],
    "absolute": [("/etc/evil.jsonl", b"x")],
    "backslash": [("a\\..\\evil", b"x")],
    "drive": [("C:/evil", b"x")],
    "control": [("a\nb", b"x")],
    "symbolic link": [(of_type(tarfile.SYMTYPE, link="/etc/passwd"), b"")],
    "hard link": [("a.jsonl", b"{}"), (of_type(tarfile.LNKTYPE, link="a.jsonl"), b"")],
    "character device": [(of_type(tarfile.CHRTYPE), b"")],
    "block device": [(of_type(tarfile.BLKTYPE), b"")],
    "pipe": [(of_type(tarfile.FIFOTYPE), b"")],
    "twice": [("a.jsonl", b"{}"), ("a.jsonl", b"{}")],
    "twice in other words": [("a.jsonl", b"{}"), ("./a.jsonl", b"{}")],
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_a_hostile_tar_yields_nothing(read: Any, kind: str, name: str, tmp_path: Path) -> None:
    data = tarred(("good.jsonl", b"{}"), *HOSTILE[kind])
    data = gzip.compress(data) if name.endswith("gz") else data
    before = set(tmp_path.rglob("*evil*"))
    assert read({name: data}) == ([], {name: "hostile"})
    assert set(tmp_path.rglob("*evil*")) == before


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a\\..\\evil", "a/../evil"])
def test_a_hostile_zip_inside_a_folder_costs_itself_alone(read: Any, path: str) -> None:
    assert read({"x.zip": zipped({"good.jsonl": b"{}", path: b"x"})}) == ([], {"x.zip": "hostile"})


def test_a_bomb_is_refused(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.stages.ingest import archive, container

    monkeypatch.setattr(container, "SMALL_IN_ALL", 1 << 20)
    monkeypatch.setattr(archive, "SMALL_IN_ALL", 1 << 20)
    zeros = b"\0" * (8 << 20)
    assert read({"x.jsonl.gz": gzip.compress(zeros)}) == ([], {"x.jsonl.gz": "hostile"})
    assert read({"x.zip": zipped({"a.jsonl": zeros})}) == ([], {"x.zip": "hostile"})
    tar = gzip.compress(tarred(("a.jsonl", zeros)))
    assert read({"x.tgz": tar}) == ([], {"x.tgz": "hostile"})
    many = zipped({f"{n}.jsonl": b"\0" * (1 << 20) for n in range(20)})
    assert read({"x.zip": many}) == ([], {"x.zip": "hostile"}), "each alone is small"


def test_a_header_that_asks_for_gigabytes_is_not_read_into_memory(read: Any) -> None:
    info = of_type(tarfile.XHDTYPE, "pax")
    info.size = 7 << 30
    data = info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10_240
    assert read({"x.tar": data}) == ([], {"x.tar": "hostile"})


def test_an_archive_inside_an_archive_is_a_file_like_any_other(read: Any) -> None:
    rows, refused = read({"x.zip": zipped({"y.zip": zipped(LINES)})})
    assert rows == []
    assert refused
    assert set(refused.values()) <= {"bad-json", "not-text"}


def test_only_a_bad_archive_is_an_error(ctx: Context, make_package: MakePackage) -> None:
    config = SourceConfig(name="x", origin="file:x", format="jsonl")
    with pytest.raises(DataError, match=r"no usable row.*x\.tar: it is refused"):
        ingest(config, ctx, package=make_package({"x.tar": tarred(("../a", b""))}))
