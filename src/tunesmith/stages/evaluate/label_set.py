"""Whether the choices of a task are labels: the same ones for each of its rows."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.stages.evaluate.task import CHOSEN, TaskConfig

OF_LABELS = ("macro-F1", "micro-F1", "calibration error", "Brier score")
"""What choices are measured by beside `CHOSEN`, where they are labels."""
WHY_NOT = (
    "of a label set: the same choices in each row, each once, and accuracy as the first metric"
)
MAX_CHARS = 2000
"""Of a label: what is longer is kept in part alone."""


def label_set(config: TaskConfig, choices: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The labels, in the order of the first row; none where the rows have other choices, or what is
    compared first is not what the model holds the likeliest."""
    first = tuple(choices[0]) if choices else ()
    same = set(first)
    are_labels = (
        config.metrics[0] == CHOSEN[0]
        and len(same) == len(first)
        and all(len(each) == len(first) and set(each) == same for each in choices)
        and all(len(label) <= MAX_CHARS for label in first)
    )
    return first if are_labels else ()
