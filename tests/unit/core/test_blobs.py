"""What the folder store promises beyond the conformance suite."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import BlobCorrupt, BlobMissing, StoreFull
from tunesmith.core.ref import Blob


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=20_000))
def test_round_trip(tmp_path, data):
    blobs = FolderBlobs(tmp_path)
    assert blobs.get(blobs.put(data)) == data


def test_a_flipped_byte_is_found_and_replaced(tmp_path):
    blobs = FolderBlobs(tmp_path)
    blob = blobs.put(b"x" * 10_000)
    path = blobs.path(blob)
    path.chmod(0o644)
    damaged = bytearray(path.read_bytes())
    damaged[5_000] ^= 1
    path.write_bytes(damaged)
    blobs.check(blob)  # the size is right, so only a deep look can tell
    with pytest.raises(BlobCorrupt, match="damaged"):
        blobs.check(blob, deep=True)
    with pytest.raises(BlobCorrupt, match="tunesmith run"):
        blobs.get(blob)
    assert blobs.put(b"x" * 10_000) == blob
    blobs.check(blob, deep=True)


def test_a_blob_that_can_be_seen_is_whole(tmp_path):
    """Whoever looks while it is put, sees nothing or all of it: there is no half of a blob."""
    blobs = FolderBlobs(tmp_path)
    seen = []
    for number in range(12):
        data = bytes([number]) * (4 << 20)
        digest = hashlib.sha256(data).hexdigest()
        blob = Blob(sha256=digest, num_bytes=len(data), media_type="application/octet-stream")
        putting = threading.Thread(target=blobs.put, args=[data])
        putting.start()
        while True:
            try:
                seen.append(len(blobs.get(blob)))
            except BlobMissing:
                assert putting.is_alive() or blobs.path(blob)
            else:
                break
        putting.join()
    assert seen == [4 << 20] * 12


def test_a_truncated_and_a_deleted_blob_are_found(tmp_path):
    blobs = FolderBlobs(tmp_path)
    blob = blobs.put(b"abc")
    path = blobs.path(blob)
    path.chmod(0o644)
    path.write_bytes(b"ab")
    with pytest.raises(BlobCorrupt):
        blobs.check(blob)
    path.unlink()
    with pytest.raises(BlobMissing):
        blobs.check(blob)


def test_from_a_file(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"z" * 3_000_000)
    blobs = FolderBlobs(tmp_path / "store")
    assert blobs.put(source) == blobs.put(b"z" * 3_000_000)


@pytest.mark.parametrize("digest", ["../../../etc/passwd", "..", "", "/etc/passwd", "a" * 63 + "/"])
def test_no_name_reaches_the_disk(tmp_path, digest):
    with pytest.raises(BlobMissing):
        FolderBlobs(tmp_path).path(Blob(sha256=digest, num_bytes=0))


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    # A limit on the size of files is the full disk that a test can have.
    script = """
        import resource, signal, sys
        from pathlib import Path
        from tunesmith.core.blobs import FolderBlobs
        from tunesmith.core.errors import StoreFull
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        blobs = FolderBlobs(Path(sys.argv[1]))
        small = blobs.put(b"a" * 1000)
        try:
            blobs.put(b"b" * 1_000_000)
        except StoreFull as error:
            print(error)
        blobs.check(small, deep=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no space left" in done.stdout
    assert "nothing was half-written" in done.stdout
    assert list((tmp_path / "incoming").iterdir()) == []
    assert len(list(FolderBlobs(tmp_path).digests())) == 1
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def test_no_space_error_is_translated_and_others_are_not(tmp_path, monkeypatch):
    blobs = FolderBlobs(tmp_path)

    def refuse(code):
        def fsync(_handle):
            raise OSError(code, os.strerror(code))

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    with pytest.raises(StoreFull):
        blobs.put(b"a")
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        blobs.put(b"a")
    assert list((tmp_path / "incoming").iterdir()) == []
