"""Pack an archive anew, with the files that are read of it and nothing else: equal files have equal
bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping

from tunesmith.stages.ingest.archive import EPOCH

_PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def packed(name: str, files: Mapping[str, bytes]) -> bytes:
    """An archive called `name`, of the kind that its name says, of `files`: by their name in the
    source, "mail.zip/a.eml", what is in them."""
    lower = name.lower()
    inside = {each.removeprefix(f"{name}/"): data for each, data in files.items()}
    if lower.endswith(".zip"):
        return _zip(inside)
    # "a.tgz" is "a.tar.gz"; of a file that is packed alone no name is kept.
    suffix = lower.rpartition(".")[2]
    is_tar = suffix.startswith("t") or lower.removesuffix(f".{suffix}").endswith(".tar")
    data = _tar(inside) if is_tar else next(iter(files.values()))
    packer = _PACKERS.get(suffix.removeprefix("t"))
    return packer(data) if packer else data


def _zip(files: Mapping[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, EPOCH), data, zipfile.ZIP_DEFLATED)
    return sink.getvalue()


def _tar(files: Mapping[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.TarFile(fileobj=sink, mode="w") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return sink.getvalue()
