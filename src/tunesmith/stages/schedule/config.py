"""Settings of what runs by itself: the `[schedule.NAME]` sections of the project file."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, field_validator

from tunesmith.core.section import Section
from tunesmith.stages.schedule import times

PARTS = ("source", "transform", "dataset", "model", "index", "monitor")
Part = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(PARTS)}):.+$")]
"""KIND:NAME of a section, e.g. "source:visits"."""


class ScheduleConfig(Section):
    """Times at which the project is run, or parts of it. `tunesmith schedule tick` runs what is
    due."""

    name: str = ""
    """Name of the schedule: what follows `schedule.` in the section's heading."""
    cron: str = Field(min_length=1)
    """When: cron's five fields (minute, hour, day of the month, month, day of the week), with
    names, ranges, steps and lists, e.g. "0 6 * * mon-fri". If neither day is a `*`, either is
    enough."""
    timezone: str = "UTC"
    """Where the clock hangs that `cron` means, e.g. "Europe/Berlin"."""
    run: tuple[Part, ...] = ()
    """What is run: sections, as in ["source:visits", "dataset:triage"], each with all that it is
    made from; the whole project if none is named."""
    catch_up: Literal["latest", "none"] = "latest"
    """What is run when nothing ticked for a while: the latest slot that came due ("latest"),
    or nothing that is more than five minutes late ("none"). The others are missed."""

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        times.check(cron)
        return " ".join(cron.split())

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                'no time zone has this name; write one as in "Europe/Berlin" or "UTC"'
            ) from None
        return timezone

    @property
    def spelled(self) -> str:
        """Its times, as they are set: if this changes, nothing from before the change is run."""
        return f"{self.cron} {self.timezone}"
