"""The section of a review: people enough, a dataset that can be judged, roles from the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.core.errors import ConfigError
from tunesmith.project_file import FILE, read

PROJECT = """
[project]
name = "notes"
[source.notes]
origin = "pypi:notes==1.0"
files = ["*"]
label = "kind"
[base.small]
origin = "pypi:small==1.0"
file = "model"
[dataset.notes]
sources = ["notes"]
base = "small"
instruction = "Name it."
[review.kinds]
dataset = "notes"
guidelines = "guidelines.md"
reviewers = ["ann", "bob"]
adjudicators = ["cat"]
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["ann", "bob"]', '["ann"]', "each row is judged by 2"),
        ('["ann", "bob"]', '["ann", "ann"]', "each person once"),
        ('["cat"]', '["bob"]', "nobody be left to decide"),
        ('["cat"]', '["cat"]\nper_row = 1', "per_row"),
        ('dataset = "notes"', 'dataset = "note"', "did you mean 'notes'"),
        (
            'label = "kind"',
            'label = "kind"\nsubject = "kind"',
            "labels of source 'notes' are people",
        ),
        ("[dataset.notes]", '[dataset.notes]\nreviewed = "kind"', "did you mean 'kinds'"),
        (
            'instruction = "Name it."\n[review.kinds]',
            'format = "text"\n[review.kinds]\norder = "doubts"',
            "have no labels to doubt",
        ),
    ],
)
def test_what_cannot_be_reviewed_is_said(tmp_path: Path, old: str, new: str, said: str):
    (tmp_path / FILE).write_text(PROJECT)
    assert read(tmp_path)[0].review["kinds"].per_row == 2
    assert old in PROJECT
    (tmp_path / FILE).write_text(PROJECT.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        read(tmp_path)


def test_nobody_makes_himself_a_reviewer_by_a_flag(tmp_path: Path):
    (tmp_path / FILE).write_text(PROJECT)
    with pytest.raises(ConfigError, match="read from the project file alone"):
        read(tmp_path, flags=["review.kinds.idle_after_s=9000"])
