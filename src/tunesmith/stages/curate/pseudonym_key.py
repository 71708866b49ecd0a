"""The key that pseudonyms are made with: outside of the store, and known there by an id alone."""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path

from tunesmith.core.errors import DataError
from tunesmith.core.project_folder import STORE
from tunesmith.stages.curate.config import DatasetConfig

KEY_BYTES = 32
"""A key has at least so many: fewer could be guessed from the pseudonyms."""


def with_key_as_it_is_now(config: DatasetConfig, project: Path) -> DatasetConfig:
    """The settings with the id of the key of this moment: another key makes another dataset.

    Why a key cannot be used is said when it is needed.
    """
    if config.pii != "pseudonymise" or config.pii_key_id:
        return config
    try:
        found = key_id(read_key(config, project))
    except DataError:
        return config
    return config.model_copy(update={"pii_key_id": found})


def key_id(key: bytes) -> str:
    """What a key may be known by, 16 hexadecimal digits: they say nothing of what is in it."""
    return hmac.digest(key, b"tunesmith: id of this key", "sha256").hex()[:16]


def read_key(config: DatasetConfig, project: Path) -> bytes:
    """The secret key of the pseudonyms, which is never stored.

    Raises:
        DataError: there is none, it lies in the store, others may read it, or it is short.
    """
    where = f"dataset {config.name!r}: pii_key_file {config.pii_key_file}"
    make = f"make one: `(umask 077; head -c {KEY_BYTES} /dev/urandom > FILE)`"
    path = Path(os.path.realpath(project / Path(config.pii_key_file).expanduser()))
    if path.is_relative_to(os.path.realpath(project / STORE)):
        raise DataError(f"{where} lies in the store", remedy="keep the key away from the data")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb") as source:
            found = os.fstat(handle)
            is_plain = stat.S_ISREG(found.st_mode)
            key = source.read(1 << 16) if is_plain else b""
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}", remedy=make) from error
    if not is_plain:
        raise DataError(f"{where} is no plain file", remedy=make)
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise DataError(f"{where} may be read by others than its owner", remedy=f"chmod 600 {path}")
    if len(key) < KEY_BYTES:
        raise DataError(f"{where} has {len(key)} bytes, and needs {KEY_BYTES}", remedy=make)
    return key
