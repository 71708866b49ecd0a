"""A pair of keys, and a folder of files to sign."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.signing.keys import PrivateKey, new_pair, read_private


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    """A private key in a file; the public one is beside it, ending with .pub."""
    path = tmp_path / "keys" / "desk.pem"
    path.parent.mkdir()
    new_pair(path, "p256", None)
    return read_private(path, None, None)


@pytest.fixture
def public(key: PrivateKey) -> Path:
    return key.path.with_name("desk.pem.pub")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "more").mkdir(parents=True)
    (made / "weights.bin").write_bytes(bytes(range(256)) * 40)
    (made / "more" / "config.json").write_text("{}")
    return made
