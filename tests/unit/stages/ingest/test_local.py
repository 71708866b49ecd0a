"""Local files: taken as they are, into the store, and never from outside the project's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tunesmith.core.errors import DataError, InputChanged, NotFound
from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.stages.ingest.asking import LandConfig
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.local import digest_of_local, land


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / ".tunesmith").mkdir()
    (folder / ".tunesmith" / "tunesmith.db").write_text("the store")
    (folder / "data" / "a.jsonl").write_text('{"a": 1}\n')
    (folder / "data" / "deep" / "b.jsonl").write_text('{"a": 2}\n')
    (folder / "data" / ".hidden").write_text("an editor's")
    (tmp_path / "secret").write_text("outside")
    return folder


def landed(ctx: Context, project: Path, origin: str, *files: str) -> Package:
    config = LandConfig(origin=origin, files=files or ("**",))
    config = config.model_copy(update={"sha256": digest_of_local(project, config)})
    return land(config, dataclasses.replace(ctx, project=project))


def members(ctx: Context, package: Package) -> dict[str, bytes]:
    with zipfile.ZipFile(ctx.blobs.path(package.wheel)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_file_and_a_folder_are_taken_as_they_are(ctx: Context, project: Path) -> None:
    one = landed(ctx, project, "file:data/a.jsonl")
    assert members(ctx, one) == {"a.jsonl": b'{"a": 1}\n'}
    assert (one.requirement, one.filename) == ("file:data/a.jsonl", "data/a.jsonl")
    every = landed(ctx, project, "file:data")
    assert list(members(ctx, every)) == ["a.jsonl", "deep/b.jsonl"]
    assert list(members(ctx, landed(ctx, project, "file:data/", "*.jsonl"))) == ["a.jsonl"]


def test_the_digest_sees_the_bytes_and_the_names(project: Path) -> None:
    def digest(origin: str = "file:data") -> str:
        return digest_of_local(project, LandConfig(origin=origin))

    path = project / "data" / "a.jsonl"
    assert digest("file:data/a.jsonl") == hashlib.sha256(path.read_bytes()).hexdigest()
    seen = [digest()]
    path.write_text('{"a": 3}\n')
    seen.append(digest())
    path.rename(path.with_name("c.jsonl"))
    seen.append(digest())
    assert len(set(seen)) == 3
    os.utime(project / "data" / "c.jsonl", (0, 0))
    assert digest() == seen[-1], "when it was touched is not what it says"
    assert digest("file:data/a.jsonl") == "", "it is not there any more"


def test_a_file_that_is_edited_meanwhile_is_not_taken(ctx: Context, project: Path) -> None:
    config = LandConfig(origin="file:data/a.jsonl", sha256="0" * 64)
    with pytest.raises(InputChanged, match="has the SHA-256"):
        land(config, dataclasses.replace(ctx, project=project))


def test_equal_files_make_an_equal_blob(ctx: Context, project: Path) -> None:
    first = landed(ctx, project, "file:data")
    (ctx.workdir / "files").unlink()
    for path in sorted(project.rglob("*.jsonl"), reverse=True):
        path.write_bytes(path.read_bytes())
    assert landed(ctx, project, "file:data") == first


@pytest.mark.parametrize(
    ("origin", "files", "words"),
    [("file:data/no.jsonl", (), "there is no data/no"), ("file:data", ("*.csv",), "no file of")],
)
def test_what_is_not_there_is_said(
    ctx: Context, project: Path, origin: str, files: tuple[str, ...], words: str
) -> None:
    with pytest.raises(NotFound, match=words):
        landed(ctx, project, origin, *files)


@pytest.mark.parametrize("where", ["data/link", "data", "link"])
def test_no_link_leads_out(ctx: Context, project: Path, where: str) -> None:
    link = project / ("link" if where == "link" else "data/link")
    link.symlink_to(project.parent if where == "link" else project.parent / "secret")
    with pytest.raises(DataError, match="leads out of the project's folder"):
        landed(ctx, project, f"file:{where}")
    if where == "link":
        with pytest.raises(DataError, match="leads out"):
            landed(ctx, project, "file:link/secret")


def test_a_link_into_the_store_is_refused_and_one_inside_is_followed(
    ctx: Context, project: Path
) -> None:
    link = project / "link"
    link.symlink_to(project / ".tunesmith" / "tunesmith.db")
    with pytest.raises(DataError, match="into its store"):
        landed(ctx, project, "file:link")
    link.unlink()
    link.symlink_to("data/a.jsonl")
    assert members(ctx, landed(ctx, project, "file:link")) == {"link": b'{"a": 1}\n'}


def test_a_loop_a_pipe_and_an_odd_name_are_refused(ctx: Context, project: Path) -> None:
    (project / "loop").symlink_to("loop")
    with pytest.raises((NotFound, DataError)):
        landed(ctx, project, "file:loop")
    (project / "data" / "dangling").symlink_to("nowhere")
    with pytest.raises(DataError, match="cannot be read"):
        landed(ctx, project, "file:data")
    (project / "data" / "dangling").unlink()
    os.mkfifo(project / "data" / "pipe")
    with pytest.raises(DataError, match="no plain file"):
        landed(ctx, project, "file:data")
    (project / "data" / "pipe").unlink()
    (project / "data" / "a\\b").write_text("x")
    with pytest.raises(DataError, match="no plain name"):
        landed(ctx, project, "file:data")


def source(origin: str) -> SourceConfig:
    return SourceConfig(origin=origin, format="text")


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../../x", "./a", "a//b", "a\\..\\b", "C:/x", "a\0", "a\nb",
     ".tunesmith/tunesmith.db", ".", "..", "//host/share"],
)  # fmt: skip
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        source(f"file:{path}")


@given(st.text(st.sampled_from("ab./\\~:\0 "), max_size=12))
def test_whatever_is_accepted_stays_inside(path: str) -> None:
    try:
        origin = source(f"file:{path}").origin
    except ValidationError:
        return
    root = "/project"
    assert os.path.normpath(os.path.join(root, origin.removeprefix("file:"))).startswith(root + "/")


@pytest.mark.parametrize("origin", ["data.jsonl", "ftp://x/y", "pypi:x", "FILE:x", "pypi:x==1;y"])
def test_other_origins_are_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match="write pypi:NAME==VERSION, file:PATH or sqlite:PATH"):
        source(origin)
