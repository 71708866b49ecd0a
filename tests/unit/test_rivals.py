from __future__ import annotations

from typing import Any

import pytest

from tunesmith.core.ref import Blob
from tunesmith.graph import build
from tunesmith.model_graph import ModelPath
from tunesmith.project_file import ProjectFile
from tunesmith.records.data import Split
from tunesmith.rivals import OWN, pilots, recipe_of, to_set, transfers, variant, whole_tokens
from tunesmith.stages.finetune.config import ModelConfig


def path_of(**recipe: Any) -> ModelPath:
    origin = {"origin": "pypi:x==1", "licence": "MIT"}
    source = {**origin, "name": "s", "files": ["*"], "label": "l", "owner": "o", "purpose": "p"}
    dataset = {"name": "d", "sources": ["s"], "base": "b", "instruction": "Name it."}
    model = {"name": "desk", "base": "b", "dataset": "d", **recipe}
    file = {
        "project": {"name": "p"},
        "source": {"s": source},
        "base": {"b": {**origin, "name": "b", "file": "f"}},
        "dataset": {"d": dataset},
        "model": {"desk": model},
        "gate": {"desk": {"name": "desk", "model": "desk"}},
    }
    return build(ProjectFile.model_validate(file)).models["desk"]


def test_a_variant_shares_all_but_the_recipe() -> None:
    own = path_of(rank=4)
    other = variant(own, "head", method="head")

    assert own.gate is not None
    assert (other.gate, other.release) == (None, None)
    assert (other.base, other.dataset) == (own.base, own.dataset)
    assert other.base_evaluation is own.base_evaluation
    assert other.model.name == "finetune:desk~head"
    assert other.tuned_evaluation.name == "evaluate:desk~head"
    assert other.tuned_evaluation.inputs == {"model": other.model, "dataset": own.dataset}
    assert recipe_of(other).name == "desk~head"
    assert recipe_of(own).method == "lora"


@pytest.mark.parametrize("recipe", [{"rank": 4, "epochs": 3}, {"method": "full", "layers": 1}])
def test_a_transfer_report_compares_at_the_same_budget(recipe: dict[str, Any]) -> None:
    found = transfers(path_of(**recipe))
    recipes = [recipe_of(path) for path in found.values()]

    assert list(found) == [OWN, "frozen trunk, trained head", "random weights, all trained"]
    assert len({(r.epochs, r.batch_rows, r.stop_after, r.share_of_rows) for r in recipes}) == 1
    assert (recipes[2].method, recipes[2].start, recipes[2].layers) == ("full", "random", 0)


def test_a_head_is_not_compared_with_itself() -> None:
    assert list(transfers(path_of(method="head"))) == [OWN, "random weights, all trained"]


def test_pilots_see_the_same_few_rows_and_no_test_row() -> None:
    found = pilots(path_of(rank=4, learning_rate=3e-3, stop_after=9), 1000, 30)
    recipes = {tag: recipe_of(path) for tag, path in found.items()}

    assert list(found) == ["own", "slower", "faster", "head", "top", "full"]  # "all" is the own
    assert {r.share_of_rows for r in recipes.values()} == {0.05}
    assert {r.stop_after for r in recipes.values()} == {0}
    assert (recipes["slower"].learning_rate, recipes["faster"].learning_rate) == (1e-3, 9e-3)
    assert (recipes["top"].layers, recipes["top"].rank) == (10, 4)
    assert recipes["full"].learning_rate < recipes["own"].learning_rate
    configs = [path.tuned_evaluation.config.model_dump() for path in found.values()]
    assert all(config["unseen_training_rows"] > 0 for config in configs)


@pytest.mark.parametrize(("num_rows", "epochs", "share"), [(100, 1, 0.32), (20, 1, 0.5)])
def test_pilots_take_at_least_four_steps_where_they_can(
    num_rows: int, epochs: int, share: float
) -> None:
    found = pilots(path_of(epochs=epochs), num_rows, 3)

    assert recipe_of(found["own"]).share_of_rows == pytest.approx(share)


def test_the_flags_make_the_recipe() -> None:
    own = path_of(rank=4, layers=2)
    for path in pilots(own, 1000, 30).values():
        rival = recipe_of(path)
        changes, leave_out = to_set(recipe_of(own), rival)
        given = recipe_of(own).model_dump(include=recipe_of(own).model_fields_set)
        kept = {key: value for key, value in given.items() if key not in leave_out}
        made = ModelConfig.model_validate(kept | changes)
        same = {"name": "", "share_of_rows": 1.0}
        assert made.model_copy(update=same) == rival.model_copy(update=same)


def test_whole_tokens_are_those_of_the_whole_run() -> None:
    split = Split(rows=Blob(sha256="0" * 64, num_bytes=0), num_rows=80, num_tokens=8000)

    def tokens(**recipe: Any) -> float:
        return whole_tokens(recipe_of(path_of(**recipe)), split)

    assert tokens(epochs=2) == 16000
    assert tokens(epochs=2, stop_after=5) == 4000
    assert tokens(epochs=1, share_of_rows=0.5) == 4000
