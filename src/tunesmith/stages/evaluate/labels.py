"""Which label a chat model gives a text: every label is scored as the answer."""

from __future__ import annotations

import torch

from tunesmith.lm.attach import load_version
from tunesmith.lm.load import load_model
from tunesmith.lm.score import score_labels
from tunesmith.stages.evaluate.calibration import brier_scores, calibration_error
from tunesmith.stages.evaluate.metrics import f1_by_label, macro_f1, micro_f1
from tunesmith.stages.evaluate.scorer import Asked, Scored


def score(asked: Asked) -> Scored:
    """The likeliest label of each row, among the dataset's.

    Raises:
        DataError: the model cannot be scored here.
        UsageError: a row does not fit the model's context.
    """
    labels, truth = asked.dataset.labels, asked.rows["label"].to_pylist()
    blobs = asked.ctx.blobs
    loaded = load_version(asked.model, blobs) if asked.model else load_model(asked.base, blobs)
    scores = score_labels(
        loaded,
        asked.instruction,
        asked.rows["text"].to_pylist(),
        labels,
        lambda rows: asked.ctx.progress(rows, len(truth), f"scores {len(labels)} labels"),
    )
    return of_labels(labels, truth, torch.log_softmax(scores.double(), dim=-1))


def of_labels(labels: tuple[str, ...], truth: list[str], log_p: torch.Tensor) -> Scored:
    """What log-probabilities of labels, (num_rows, num_labels), say of the rows.

    Of two equally likely labels the first counts.
    """
    best = log_p.argmax(dim=-1).tolist()
    predicted = [labels[index] for index in best]
    wanted = torch.tensor([labels.index(label) for label in truth])
    by_label = f1_by_label(truth, predicted, labels)
    right = [float(t == p) for t, p in zip(truth, predicted, strict=True)]
    chances = log_p.exp()
    losses = (-log_p.gather(1, wanted[:, None])[:, 0]).tolist()
    return Scored(
        metric="accuracy",
        scores=right,
        losses=losses,
        truth=truth,
        predicted=predicted,
        columns={
            "log_probability": log_p.max(dim=-1).values.tolist(),
            "probabilities": chances.float().tolist(),
        },
        by_row={"Brier score": brier_scores(chances.numpy(), wanted.tolist())},
        others={
            "macro-F1": macro_f1(by_label),
            "micro-F1": micro_f1(truth, predicted, labels),
            "calibration error": calibration_error(chances.max(dim=-1).values.tolist(), right),
            "loss": sum(losses) / len(losses),
        },
        per_label_f1=by_label,
    )
