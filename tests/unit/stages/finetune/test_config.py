from __future__ import annotations

from typing import Any

import pydantic
import pytest

from tunesmith.core.ref import to_plain
from tunesmith.stages.finetune.config import ModelConfig


def config(**settings: Any) -> ModelConfig:
    return ModelConfig(base="b", dataset="d", **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "full", "rank": 16}, "rank is not read with method 'full': leave rank out"),
        ({"method": "head", "alpha": 8.0}, "alpha is not read with method 'head'"),
        ({"method": "head", "layers": 2}, "set method to 'lora' or 'dora' or 'full'"),
        ({"method": "qlora"}, "'lora', 'dora', 'full' or 'head'"),
        ({"layers": -1}, "greater than or equal to 0"),
        ({"start": "random"}, "start is not read with method 'lora'"),
        ({"method": "full", "start": "random", "layers": 1}, "trained as a whole"),
        ({"share_of_rows": 0.0}, "greater than 0"),
        ({"share_of_rows": 1.1}, "less than or equal to 1"),
    ],
)
def test_a_setting_that_nothing_would_read_is_refused(settings: dict[str, Any], said: str) -> None:
    """Defect 36, even where the value is the default's."""
    with pytest.raises(pydantic.ValidationError, match=said):
        config(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "dora", "rank": 4, "alpha": 2.0, "layers": 3},
        {"method": "full", "layers": 3},
        {"method": "head"},
        {"method": "full", "start": "random", "share_of_rows": 0.25},
    ],
)
def test_what_is_written_out_can_be_read_again(settings: dict[str, Any]) -> None:
    """A step's settings go to its worker, and into its key, with all their defaults."""
    written = to_plain(config(**settings))

    assert ModelConfig.model_validate(written) == config(**settings)
    assert ("rank" in written) == (written["method"] in ("lora", "dora"))


def test_a_changed_recipe_keeps_what_its_method_reads() -> None:
    own = config(rank=4, learning_rate=3e-3, epochs=5, layers=2)
    head = own.changed(method="head", learning_rate=1e-2)

    assert (head.method, head.learning_rate, head.epochs) == ("head", 1e-2, 5)
    assert "rank" not in to_plain(head)
    assert own.changed() == own
    with pytest.raises(pydantic.ValidationError, match="layers"):
        own.changed(method="full", start="random")
