from __future__ import annotations

from tunesmith.stages.monitor.sample import sample_keys

KEYS = [f"row {number}" for number in range(100)]


def test_the_sample_depends_on_the_seed_and_not_on_the_order() -> None:
    assert sample_keys(KEYS, 10, 1) == sample_keys(KEYS[::-1], 10, 1)
    assert sample_keys(KEYS, 10, 1) != sample_keys(KEYS, 10, 2)


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    assert set(sample_keys(KEYS, 10, 1)) < set(sample_keys(KEYS, 20, 1))
    assert len(sample_keys(KEYS, 10, 1)) == 10


def test_each_key_is_drawn_once() -> None:
    assert sorted(sample_keys(["a", "a", "b"], 5, 0)) == ["a", "b"]
