from __future__ import annotations

from pathlib import Path

from tunesmith.core.canonical import canonical_json
from tunesmith.core.step import Context
from tunesmith.records.signal import Signal
from tunesmith.stages.retrain.config import RetrainConfig
from tunesmith.stages.retrain.run import propose
from tunesmith.testing import MemoryBlobs


def test_a_proposal_carries_its_signals(tmp_path: Path) -> None:
    ctx = Context(blobs=MemoryBlobs(tmp_path), seed=0, workdir=tmp_path, keep=tmp_path)
    same = Signal(
        monitor="desk", traffic="heldout", verdict="unchanged", checks=(), false_alarm_rate=0.01
    )
    config = RetrainConfig(model="desk", add_sources=("tags",))
    found = propose(config, ctx, signals=(same,))
    assert (found.model, found.retrain, found.add_sources) == ("desk", False, ())
    assert found.signals == (same,)
    canonical_json(found)
