"""Sections of the project file that are of no stage: `[project]`, and `[review.NAME]`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tunesmith.core.section import Section
from tunesmith.stages.ingest.reach import Host


class ProjectSection(Section):
    """What holds for the whole project."""

    name: str
    """Name of the project, for people."""
    seed: int = 0
    """Seed of everything that is drawn at random."""
    database: str = ""
    """SQLAlchemy URL of the store's database; empty for SQLite in .tunesmith/."""
    executor: Literal["inline", "subprocess"] = "inline"
    """Where steps run: in this process, or each in a process of its own."""
    jobs: int = Field(default=1, ge=1)
    """How many steps run at the same time, each in a process of its own, as the memory allows."""
    retries: int = Field(default=0, ge=0, le=20)
    """How often a step is tried again whose process was killed, or whom no index answered."""
    retries_of: dict[str, Annotated[int, Field(ge=0, le=20)]] = Field(default_factory=dict)
    """The same for one step, by its name in the plan, as in { "fetch:crm" = 5 }."""
    retry_wait_s: float = Field(default=1.0, gt=0)
    """How long to wait before it is tried again, at first; then twice as long each time."""
    busy_timeout_s: float = Field(default=60.0, gt=0)
    """How long to wait for a store that another process is writing to."""
    hosts: tuple[Host, ...] = ()
    """Hosts that may be reached over the web: "HOST", whose addresses must then be public; or
    "HOST:PORT", whose addresses may be this machine's or a private network's, as of a database that
    is not on this machine. Read from the project file alone."""


class ReviewConfig(Section):
    """Rows of a dataset that people look at, each on their own. It is read from the project file
    alone: no flag, no environment variable and no user file can change it."""

    name: str = ""
    """Name of the review: what follows `review.` in the section's heading."""
    dataset: str
    """Name of the dataset whose rows are judged. Of labels each row is given one; of other formats
    it is accepted, rejected or corrected ("chat", "completion", "text", "checked", "tags"), one of
    its answers is better ("preference"), it is liked or not ("feedback"), or its texts belong
    together or not ("pairs")."""
    guidelines: str = Field(min_length=1)
    """Markdown file in the project's folder that says what each label means, or what is right."""
    reviewers: tuple[str, ...]
    """Users who may judge rows. Names of the operating system's users."""
    adjudicators: tuple[str, ...]
    """Users who may decide where reviewers differ; never about a row that they judged."""
    per_row: int = Field(default=2, ge=2)
    """How many people judge each row. They do not see one another's judgements."""
    order: Literal["doubts", "drawn"] = "doubts"
    """In which order rows are looked at: those with doubtful labels first, worst first, then the
    others as they are drawn ("doubts"); or all as they are drawn ("drawn"), so that what was looked
    at stands for the whole dataset at any time, as rows without labels always are."""
    idle_after_s: float = Field(default=300.0, gt=0)
    """No row counts for more time than this: who takes longer was away."""

    @model_validator(mode="after")
    def _there_are_people_enough(self) -> Self:
        for key in ("reviewers", "adjudicators"):
            if len(set(getattr(self, key))) != len(getattr(self, key)):
                raise ValueError(f"{key} must name each person once")
        if len(self.reviewers) < self.per_row:
            raise ValueError(
                f"reviewers names {len(self.reviewers)}, and each row is judged by {self.per_row}"
            )
        others = set(self.adjudicators) - set(self.reviewers)
        if not others and len(self.adjudicators) <= self.per_row:
            raise ValueError(
                "all adjudicators could have judged a row, and nobody be left to decide about it: "
                "name one who is no reviewer"
            )
        return self
