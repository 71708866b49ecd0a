"""A context to run in, and packages made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from archives import zipped
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.step import Context
from tunesmith.records.data import Package

Members = dict[str, bytes]


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    workdir = tmp_path / "work"
    workdir.mkdir()
    return Context(blobs=FolderBlobs(tmp_path / "blobs"), seed=1, workdir=workdir, keep=workdir)


@pytest.fixture
def make_package(ctx: Context) -> Callable[[Members | bytes], Package]:
    """make_package(members, or the bytes of a zip) -> a package in the context's blobs."""

    def make(content: Members | bytes) -> Package:
        data = zipped(content) if isinstance(content, dict) else content
        return Package(
            requirement="data==1.0",
            filename="data-1.0-py3-none-any.whl",
            wheel=ctx.blobs.put(data, "application/zip"),
        )

    return make
