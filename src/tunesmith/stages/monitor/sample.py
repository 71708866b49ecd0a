"""A sample that depends on what the rows are and on the seed, not on the order they come in."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.canonical import draw


def sample_keys(keys: Sequence[str], limit: int, seed: int) -> list[str]:
    """At most `limit` of the distinct `keys`, in an order that the seed decides."""
    return sorted(set(keys), key=lambda key: (draw(f"{seed}\0{key}"), key))[:limit]
