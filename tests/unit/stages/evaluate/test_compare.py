from __future__ import annotations

import pytest
import torch

from tunesmith.stages.evaluate.compare import losses
from tunesmith.stages.evaluate.predictions import to_parquet


def test_losses_are_the_cross_entropies_of_torch() -> None:
    scores = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    truth = [number % 3 for number in range(20)]
    labels = ["a", "b", "c"]
    data = to_parquet([f"r{n}" for n in range(20)], [labels[t] for t in truth], labels, scores)
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor(truth), reduction="none")

    assert losses(data, labels) == pytest.approx(expected.tolist(), rel=1e-5)


def test_an_impossible_label_costs_much_and_not_everything() -> None:
    data = to_parquet(["r"], ["b"], ["a", "b"], torch.tensor([[0.0, -1e4]]))

    assert losses(data, ["a", "b"]) == [pytest.approx(87.3, abs=0.1)]
