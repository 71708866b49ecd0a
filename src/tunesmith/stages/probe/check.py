"""Whether the file of a suite says something, found before anything is tuned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tunesmith.core.step import Step
from tunesmith.stages.probe.canaries import read_canaries
from tunesmith.stages.probe.cases import read_tests
from tunesmith.stages.probe.config import ProbeConfig
from tunesmith.stages.probe.forgetting import read_texts
from tunesmith.stages.probe.given import read_given
from tunesmith.stages.probe.injection import read_orders
from tunesmith.stages.probe.refusals import read_asks

READERS: Mapping[str, Callable[[str, str], Any]] = {
    "forgetting": read_texts,
    "behaviour": read_tests,
    "canaries": read_canaries,
    "injection": read_orders,
    "refusals": read_asks,
}
"""By kind of suite: what reads the text of a file of that name."""


def require_readable(suites: Iterable[Step], project: Path) -> None:
    """The file of each of the suites that has one can be read and understood.

    Raises:
        NotFound: it is not there.
        DataError: it cannot; the message says where.
    """
    for suite in suites:
        config = suite.config
        assert isinstance(config, ProbeConfig)
        if config.file:
            READERS[config.kind](read_given(config.file, project).text, config.file)
