from __future__ import annotations

import pydantic
import pytest

from tunesmith.stages.monitor.config import MonitorConfig


def test_a_section_as_it_stands_in_a_project_file() -> None:
    config = MonitorConfig(
        model="desk",
        dataset="notices-12",
        replay={"heldout": "dataset:notices-12/test", "tags": "source:tags"},
    )
    assert config.false_alarm_rate == 0.01


@pytest.mark.parametrize("target", ["tags", "source:", "dataset:notices/train", "file:/tmp"])
def test_a_replay_names_a_source_or_a_test_split(target: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="neither dataset:NAME/test nor"):
        MonitorConfig(model="desk", dataset="notices", replay={"x": target})
