from __future__ import annotations

import pytest
import torch

from tunesmith.stages.evaluate.labels import of_labels


def test_losses_are_the_cross_entropies_of_torch() -> None:
    scores = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    truth = [number % 3 for number in range(20)]
    labels = ("a", "b", "c")
    found = of_labels(labels, [labels[t] for t in truth], torch.log_softmax(scores, dim=-1))
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor(truth), reduction="none")

    assert found.losses == pytest.approx(expected.tolist())
    assert found.predicted == [labels[place] for place in scores.argmax(1).tolist()]
    assert found.scores == [
        float(p == labels[t]) for p, t in zip(found.predicted, truth, strict=True)
    ]


def test_of_two_equally_likely_labels_the_first_counts() -> None:
    found = of_labels(("a", "b"), ["b"], torch.log(torch.tensor([[0.5, 0.5]])))

    assert (found.predicted, found.scores) == (["a"], [0.0])
