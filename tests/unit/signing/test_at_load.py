"""What is loaded is what was signed, also where somebody puts another file there meanwhile."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core import evidence
from tunesmith.core.canonical import fingerprint
from tunesmith.core.db import Database
from tunesmith.core.errors import BlobCorrupt, BlobMissing, SignatureError
from tunesmith.core.lifecycle import SIGNED
from tunesmith.core.migrations import migrate
from tunesmith.core.ref import Blob
from tunesmith.lm.generate import torch_engines
from tunesmith.signing.at_load import as_signed
from tunesmith.signing.model_files import files_of, sign
from tunesmith.signing.opened import checked_copies


@pytest.fixture
def database(tmp_path: Path):
    made = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    migrate(made, tmp_path)
    yield made
    made.close()


@pytest.fixture
def version(tiny: Any):
    """An untrained adapter of the tiny model."""
    from tunesmith.lm.load import load_model
    from tunesmith.stages.finetune.config import ModelConfig
    from tunesmith.stages.finetune.trained import prepare, trained_bytes, trained_config

    config = ModelConfig(name="desk", base="tiny", dataset="d", rank=4)
    trained = prepare(load_model(tiny.base, tiny.blobs).model, config, 0)
    settings = tiny.blobs.put(trained_config(trained, config, tiny.base))
    return tiny.version(tiny.blobs.put(trained_bytes(trained)), settings)


def signed(database, version, key) -> None:
    body = {
        "model": "desk",
        "version": "desk@1",
        "why": "",
        "digest": fingerprint(version),
        "key": key.id,
        "signature": sign(files_of(version), "desk@1", key),
    }
    with database.write() as connection:
        evidence.append(connection, SIGNED, "ann", body)


def swap(blobs, blob: Blob) -> None:
    """Another file of the same size in its place, as whoever may write to the folder can put."""
    path = blobs.path(blob)
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[:-1] + b"!")
    other.replace(path)


def test_without_a_key_nothing_is_asked(tiny, database, version) -> None:
    with as_signed([(version, "desk@1")], tiny.blobs, database, None) as blobs:
        assert blobs is tiny.blobs


def test_only_what_is_signed_is_loaded(tiny, database, version, key, public) -> None:
    asked = ([(version, "desk@1")], tiny.blobs, database, public)
    with pytest.raises(SignatureError, match="desk@1 is not signed"), as_signed(*asked):
        pass
    signed(database, version, key)
    with as_signed(*asked) as blobs:
        (engine,) = torch_engines([version], blobs)
    assert engine is not None  # its weights outlive the copies
    forged = tiny.version(version.adapter, version.adapter_config, num_steps=7)
    with pytest.raises(SignatureError), as_signed([(forged, "desk@1")], *asked[1:]):
        pass


@pytest.mark.parametrize("which", ["adapter", "adapter_config", "base"])
def test_a_swap_between_check_and_use_is_caught(
    tiny, database, version, key, public, which
) -> None:
    signed(database, version, key)
    blob = version.base.weights if which == "base" else getattr(version, which)
    asked = ([(version, "desk@1")], tiny.blobs, database, public)
    with as_signed(*asked) as blobs:
        swap(tiny.blobs, blob)
        with pytest.raises(BlobCorrupt):
            torch_engines([version], blobs)


def test_a_swap_after_it_was_opened_changes_nothing(tiny) -> None:
    blob = tiny.blobs.put(b"as it was signed")
    with checked_copies(tiny.blobs) as copies:
        path = copies.path(blob)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        swap(tiny.blobs, blob)
        assert copies.path(blob).read_bytes() == b"as it was signed"
        with pytest.raises(BlobCorrupt):
            copies.get(blob)
    assert not path.exists()


def test_copies_are_a_store_like_the_one_behind_them(tiny) -> None:
    with checked_copies(tiny.blobs) as copies:
        blob = copies.put(b"new")
        assert copies.get(blob) == tiny.blobs.get(blob) == b"new"
        copies.check(blob, deep=True)
        assert blob.sha256 in set(copies.digests())
        swap(tiny.blobs, blob)
        with pytest.raises(BlobCorrupt):
            copies.path(blob)
        with pytest.raises(BlobCorrupt):  # nothing of it was left there
            copies.path(blob)
        copies.remove(blob.sha256)
        with pytest.raises(BlobMissing):
            copies.path(blob)
