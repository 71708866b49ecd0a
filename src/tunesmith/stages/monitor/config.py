"""Settings of monitoring: the `[monitor.NAME]` sections of the project file.

The tolerances say what change is accepted; the acceptable sizes say how small a change must be
detectable before "unchanged" may be said. The defaults of the latter are what about 96 rows of
traffic can show against 480 rows of reference with 80 % power: large changes only, and each check
states the size that it could have seen. Smaller values ask for more rows.
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from tunesmith.core.section import Section

ROWS = Field(default=1000, ge=1, le=5000)

_TARGET = re.compile(r"dataset:[^/:]+/test|source:[^/:]+")


class ReplayConfig(Section):
    """Rows of the project's own data, offered as if they were traffic."""

    name: str
    """Name of the stream."""
    limit: int = ROWS
    """At most this many rows; a larger table is sampled."""


class CompareConfig(Section):
    """How one stream of traffic is compared. Its texts are compared with what the dataset's model
    was tuned on, its later answers with its first answers."""

    name: str = ""
    """Name of the monitor: what follows `monitor.` in the section's heading."""
    limit: int = ROWS
    """At most this many rows of a stream, and of the reference, are compared."""
    false_alarm_rate: float = Field(default=0.01, ge=0.001, le=0.2)
    """Bound on the probability of "changed" when nothing changed, at one look, over all checks of
    one stream. Each further look at growing served traffic can add as much again: for repeated
    looks take a smaller rate, such as the wanted one divided by the number of looks."""
    tolerance_length: float = Field(default=0.1, ge=0, lt=1)
    """Accepted difference of the lengths in words: Kolmogorov-Smirnov D, from 0 to 1."""
    tolerance_vocabulary: float = Field(default=0.55, ge=0.5, lt=1)
    """Accepted AUC of a classifier that tells traffic from reference; 0.5 is chance."""
    tolerance_outputs: float = Field(default=0.05, ge=0, lt=1)
    """Accepted share of later answers that moved to other labels (total variation)."""
    acceptable_length: float = Field(default=0.4, gt=0, lt=1)
    """Before it says "unchanged", a D of this size must be detectable; it is a shift by about one
    standard deviation."""
    acceptable_vocabulary: float = Field(default=0.75, gt=0.5, lt=1)
    """Before it says "unchanged", an AUC of this size must be detectable."""
    acceptable_outputs: float = Field(default=0.45, gt=0, lt=1)
    """Before it says "unchanged", a total variation of this size must be detectable."""


class MonitorConfig(CompareConfig):
    """Which traffic is compared with what, and what could be done about a change."""

    model: str
    """Name of the model that would be tuned again."""
    dataset: str
    """Name of the dataset whose train split is the reference."""
    replay: dict[str, str] = Field(default_factory=dict)
    """Streams to compare, by name: "dataset:NAME/test" or "source:NAME"."""
    retrain_with: tuple[str, ...] = ()
    """Labelled sources that could be added to the dataset when its traffic changes; without any,
    no retraining is proposed."""

    def compare(self) -> CompareConfig:
        """What a comparison reads: a stream that is added re-runs none of the others."""
        return CompareConfig(**self.model_dump(include=set(CompareConfig.model_fields)))

    @field_validator("replay")
    @classmethod
    def _check_replay(cls, replay: dict[str, str]) -> dict[str, str]:
        for name, target in replay.items():
            if not _TARGET.fullmatch(target):
                raise ValueError(
                    f"{name} = {target!r} is neither dataset:NAME/test nor source:NAME"
                )
        return replay
