"""A sample that depends on what the rows are and on the seed, not on the order they come in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def sample_keys(keys: Sequence[str], limit: int, seed: int) -> list[str]:
    """At most `limit` of the distinct `keys`, in an order that the seed decides."""
    return sorted(set(keys), key=lambda key: _draw(key, seed))[:limit]


def _draw(key: str, seed: int) -> tuple[bytes, str]:
    return hashlib.sha256(f"{seed}\0{key}".encode()).digest(), key
