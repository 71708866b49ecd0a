"""A step: what to run, on what, with what settings. Its key is the hash of those bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunesmith.core.blobs import Blobs
from tunesmith.core.meter import Forecast
from tunesmith.core.section import Section

Progress = Callable[[float, float, str], None]
"""progress(done, total, note): `total` 0 when it is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One node of the graph. Steps are compared by identity; their keys are compared by value."""

    name: str
    """Where it stands in this project, e.g. "finetune:desk"; not part of the key."""
    kind: str
    """What runs: a row of `core.kinds`, e.g. "finetune@1"."""
    config: Section
    """The settings that bear on the result, and nothing else."""
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What this one is given, by argument name: a Step or a tuple of them (their records), or a
    record."""
    seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What a step function may use beside its settings and inputs: where it runs, not what it is.

    Nothing in a context bears on the result except `seed`.
    """

    blobs: Blobs
    seed: int
    workdir: Path
    """A private folder (mode 0700), empty at the start and removed at the end."""
    keep: Path
    """A folder of this step's that outlives the attempt: where it leaves what the next one can go
    on from. Gone when the step has succeeded."""
    cache: Path | None = None
    """A folder that all steps share, for what can be made again: by content, and checked when it is
    read. Whoever needs it makes it. None where nothing is shared."""
    project: Path | None = None
    """The folder of the project file, which local files are relative to."""
    hosts: tuple[str, ...] = ()
    """Hosts that may be reached over the network: HOST, or HOST:PORT."""
    identity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """All that bears on the result, as JSON; what is kept must be of the same."""
    progress: Progress = lambda _done, _total, _note: None
    metric: Callable[[str, float, int], None] = lambda _name, _value, _step: None
    """metric(name, value, step) records one point of a curve."""
    forecast: Callable[[Forecast], None] = lambda _forecast: None
    """Say, before the main part starts, what it will use; the error is reported afterwards."""


def input_steps(step: Step) -> list[Step]:
    """The steps whose records `step` is given, each once."""
    values = step.inputs.values()
    parts = (part for each in values for part in (each if isinstance(each, tuple) else (each,)))
    return list(dict.fromkeys(part for part in parts if isinstance(part, Step)))


def ordered(*wanted: Step) -> list[Step]:
    """`wanted` and all that they need, each step once and after its inputs."""
    reached: dict[Step, None] = {}

    def reach(step: Step) -> None:
        for each in input_steps(step):
            reach(each)
        reached.setdefault(step)

    for step in wanted:
        reach(step)
    return list(reached)
