"""Whether the file of a suite says something, found before anything is tuned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tunesmith.core.kinds import resolve
from tunesmith.core.step import Step
from tunesmith.stages.probe.config import ProbeConfig
from tunesmith.stages.probe.given import read_given

_HERE = "tunesmith.stages.probe"
READERS: Mapping[str, str] = {  # by name: a suite without a file should load no model's code
    "forgetting": f"{_HERE}.forgetting:read_texts",
    "robustness": f"{_HERE}.paraphrases:read_paraphrases",
    "behaviour": f"{_HERE}.cases:read_tests",
    "canaries": f"{_HERE}.canaries:read_canaries",
    "injection": f"{_HERE}.injection:read_orders",
    "refusals": f"{_HERE}.refusals:read_asks",
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
            read = resolve(READERS[config.kind])
            read(read_given(config.file, project).text, config.file)
