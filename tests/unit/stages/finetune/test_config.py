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
        ({"beta": 0.1}, "beta is not read with objective 'sft': leave beta out"),
        ({"margin": 1.0}, "set objective to 'simpo'"),
        ({"objective": "dpo", "margin": 1.0}, "margin is not read with objective 'dpo'"),
        ({"objective": "dpo", "desirable_weight": 1.0}, "set objective to 'kto'"),
        ({"objective": "dpo", "beta": 0.0}, "greater than 0"),
        ({"new_tokens": ["<a>"], "method": "full"}, "new_tokens is not read with method 'full'"),
        ({"new_tokens": ["<a>"], "objective": "classify"}, "set objective to 'sft' or 'cpt'"),
        (
            {"new_tokens": ["<a>"], "objective": "distil", "teacher": "base:b"},
            "cannot be learnt with objective 'distil'",
        ),
        ({"new_tokens": ["a b"]}, "no white space"),
        ({"new_tokens": [""]}, "no white space and is not empty"),
        ({"new_tokens": ["<a>", "<b>", "<a>"]}, "one token twice"),
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
        {"new_tokens": ["<a>", "<b>"]},
        {"method": "head"},
        {"method": "full", "start": "random", "share_of_rows": 0.25},
        {"objective": "simpo", "margin": 0.5},
        {"objective": "kto", "undesirable_weight": 2.0, "learning_rate": 1e-3},
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


def test_defaults_are_those_of_the_objective_and_can_be_seen() -> None:
    """They are written out, so that `tunesmith config show` and a step's key have them."""
    written = {
        name: to_plain(config(objective=name))
        for name in ("sft", "dpo", "ipo", "orpo", "simpo", "kto")
    }

    assert {name: each.get("beta") for name, each in written.items()} == {
        "sft": None, "dpo": 0.1, "ipo": 0.1, "orpo": 0.1, "simpo": 2.0, "kto": 0.1,
    }  # fmt: skip
    assert {name for name, each in written.items() if each["learning_rate"] == 1e-4} == {
        "dpo", "ipo", "orpo", "simpo", "kto",
    }  # fmt: skip
    assert written["sft"]["learning_rate"] == 1e-3
    assert written["simpo"]["margin"] == 1.0
    assert config(objective="simpo", beta=0.3, learning_rate=1e-4).beta == 0.3
    assert config(objective="simpo").changed(epochs=3).beta == 2.0
