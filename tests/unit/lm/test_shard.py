from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.lm import shard
from tunesmith.lm.example import Answer, Example
from tunesmith.lm.shard import Shard, open_shard, row_ids_of, write_shard

IDS = st.lists(st.integers(0, 2**31 - 1), max_size=5).map(tuple)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    ids = draw(IDS)
    weights = draw(st.lists(st.floats(0, 4), min_size=len(ids), max_size=len(ids)))
    types = draw(st.lists(st.integers(0, 1), min_size=len(ids), max_size=len(ids)))
    return Answer(
        ids=ids,
        weights=tuple(weights) if draw(st.booleans()) else (),
        types=tuple(types) if draw(st.booleans()) else (),
    )


EXAMPLES = st.lists(
    st.builds(
        Example,
        row_id=st.text(max_size=8),
        prompt=IDS,
        answers=st.lists(answers(), max_size=3).map(tuple),
        target=st.none() | st.integers(0, 9) | st.floats(0, 1) | IDS,
    ),
    max_size=12,
)


@given(examples=EXAMPLES, batch=st.integers(1, 5))
def test_what_was_written_is_read(examples: list[Example], batch: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "BATCH", batch)
        path = Path(folder) / "rows"
        write_shard(path, iter(examples))
        found = open_shard(path)

        assert found is not None
        assert list(found) == examples
        assert row_ids_of(found) == row_ids_of(examples)
        assert found[1:] == examples[1:]
        assert len(found) == len(examples)
        assert {each.name for each in Path(folder).iterdir()} == {"rows", "rows.sha256"}


def test_places_are_those_of_a_list(tmp_path: Path) -> None:
    write_shard(tmp_path / "rows", [Example(row_id=name) for name in "abc"])
    found = Shard(tmp_path / "rows")

    assert found[-1].row_id == "c"
    with pytest.raises(IndexError):
        found[3]


def test_what_is_not_what_was_written_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    assert open_shard(path) is None
    write_shard(path, [Example(row_id="a", prompt=(1, 2, 3))])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert open_shard(path) is None


def test_an_end_in_the_middle_leaves_nothing_to_be_opened(tmp_path: Path) -> None:
    def broken():
        yield Example(row_id="a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "rows", broken())
    assert open_shard(tmp_path / "rows") is None


def test_a_large_shard_is_not_in_memory(tmp_path: Path) -> None:
    """Arrow says how much it has allocated; what is mapped is not among it."""
    import pyarrow as pa

    rows = (Example(row_id=f"{n}", prompt=tuple(range(200))) for n in range(5000))
    write_shard(tmp_path / "rows", rows)
    before = pa.total_allocated_bytes()
    found = Shard(tmp_path / "rows")
    assert sum(found[place].num_tokens for place in (0, 2500, 4999)) == 600
    assert pa.total_allocated_bytes() - before < 100_000
    assert (tmp_path / "rows").stat().st_size > 4_000_000
