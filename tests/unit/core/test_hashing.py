"""A digest that is made beside the writing is that of all that was written."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core import hashing
from tunesmith.core.hashing import HashedBeside, sha256_of_file


@settings(deadline=None)
@given(st.lists(st.integers(0, 40).map(lambda size: bytes(range(size))), max_size=20))
def test_it_is_that_of_all_pieces_in_their_order(pieces: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patched, HashedBeside() as digest:
        patched.setattr(hashing, "_LEAST_BYTES", 20)
        for at, piece in enumerate(pieces):
            digest.update(piece)
            if at % 3 == 2:
                said = hashlib.sha256(b"".join(pieces[: at + 1])).hexdigest()
                assert digest.hexdigest() == said
        assert digest.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_no_thread_is_left_and_small_pieces_need_none() -> None:
    before = threading.active_count()
    with HashedBeside() as digest:
        digest.update(b"small")
        assert threading.active_count() == before
        digest.update(b"x" * (1 << 20))
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_file_is_hashed_whole_whatever_its_size(tmp_path: Path, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / "file").write_bytes(data[:size])
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(data[:size]).hexdigest()
