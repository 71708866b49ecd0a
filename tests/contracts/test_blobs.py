"""Every blob store obeys the same laws."""

from __future__ import annotations

import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.testing import MemoryBlobs, check_blobs


@pytest.mark.parametrize("store", [FolderBlobs, MemoryBlobs])
def test_blobs(tmp_path, store):
    check_blobs(store(tmp_path))
