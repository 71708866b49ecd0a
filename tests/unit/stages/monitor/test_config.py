from __future__ import annotations

import pydantic
import pytest

from tunesmith.stages.monitor.config import CompareConfig, MonitorConfig


def test_a_section_as_it_stands_in_a_project_file() -> None:
    config = MonitorConfig(
        model="desk",
        dataset="notices-12",
        replay={"heldout": "dataset:notices-12/test", "tags": "source:tags"},
    )
    assert config.false_alarm_rate == 0.01


def test_what_a_comparison_reads_does_not_change_with_the_streams() -> None:
    config = MonitorConfig(name="desk", model="desk", dataset="notices", acceptable_outputs=0.3)
    wider = config.model_copy(
        update={"replay": {"tags": "source:tags"}, "retrain_with": ("tags",), "model": "other"}
    )
    assert type(config.compare()) is CompareConfig
    assert config.compare() == wider.compare()
    assert config.compare() == CompareConfig(name="desk", acceptable_outputs=0.3)
    assert config.compare() != wider.model_copy(update={"limit": 5}).compare()


@pytest.mark.parametrize("target", ["tags", "source:", "dataset:notices/train", "file:/tmp"])
def test_a_replay_names_a_source_or_a_test_split(target: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="neither dataset:NAME/test nor"):
        MonitorConfig(model="desk", dataset="notices", replay={"x": target})
