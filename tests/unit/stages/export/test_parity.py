from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import prompt_ids, question, stop_ids
from tunesmith.lm.load import load_model
from tunesmith.stages.export.parity import (
    MAX_ANSWER,
    REQUIRED,
    ROOM,
    Observation,
    Question,
    Required,
    Subject,
    compare,
    divergence,
    misses,
    observe,
)
from tunesmith.stages.export.questions import held_out

EXACT = Required(mean_kl=1e-4, same_answers=1.0)


def said(
    logits: list[float],
    *,
    prompt: tuple[int, ...] = (1,),
    answer: tuple[int, ...] = (2,),
    stopped: bool = True,
) -> Observation:
    return Observation(prompt=prompt, logits=torch.tensor([logits]), answer=answer, stopped=stopped)


def test_divergence_is_the_one_of_the_textbook() -> None:
    p, q = torch.tensor([[0.75, 0.25]]), torch.tensor([[0.5, 0.5]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(divergence(p.log(), q.log() + 3)) == pytest.approx(expected)


@given(st.integers(0, 2**32), st.floats(0.01, 10))
def test_divergence_is_that_of_torch(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    p, q = (scale * torch.randn(3, 7, generator=generator) for _ in range(2))
    expected = torch.nn.functional.kl_div(
        torch.log_softmax(q.double(), -1),
        torch.log_softmax(p.double(), -1),
        reduction="none",
        log_target=True,
    ).sum(-1)
    torch.testing.assert_close(divergence(p, q), expected)
    assert bool((divergence(p, q) >= 0).all())
    assert float(divergence(p, p).max()) == 0


def test_the_same_is_the_same() -> None:
    tuned = [said([1.0, 2.0]), said([0.0, 3.0])]
    parity = compare(tuned, tuned, stops_at_turn=True, required=EXACT)
    assert parity.verdict == "pass"
    assert (parity.num_prompts, parity.num_positions, parity.mean_kl) == (2, 2, 0)


@pytest.mark.parametrize(
    ("export", "stops", "named"),
    [
        (said([2.0, 1.0]), True, "mean KL is 2.31e-01 nats (highest 4.62e-01"),  # tanh(1 / 2)
        (said([1.0, math.nan]), True, "mean KL is nan"),
        (said([1.0, 2.0], answer=(3,)), True, "50% of the greedy answers"),
        (said([1.0, 2.0], prompt=(0, 1)), True, "50% of the prompts"),
        (said([1.0, 2.0], stopped=False), True, "after 50% it stops"),
        (said([1.0, 2.0]), False, "does not declare"),
    ],
)
def test_every_difference_fails_and_is_named(export: Observation, stops: bool, named: str) -> None:
    tuned = [said([1.0, 2.0])] * 2
    parity = compare(tuned, [tuned[0], export], stops_at_turn=stops, required=EXACT)
    assert parity.verdict == "fail"
    assert named in misses(parity)


def test_an_export_may_stop_where_the_tuned_model_runs_on() -> None:
    tuned, export = said([1.0, 2.0], stopped=False), said([1.0, 2.0])
    assert compare([tuned], [export], stops_at_turn=True, required=EXACT).verdict == "pass"


def test_coarser_numbers_have_wider_bounds() -> None:
    bounds = [REQUIRED[name].mean_kl for name in ("f32", "f16", "q8_0", "q4_0")]
    assert bounds == sorted(bounds)
    assert bounds[0] == 1e-4


def test_held_out_rows_are_spread_over_the_split(tiny: Any) -> None:
    tokenizer = load_model(tiny.base, tiny.blobs).tokenizer
    rows = [(f"text {number}", "mit") for number in range(10)]
    rows[5] = ("a <|im_end|> within", "mit")
    rows[0] = ("word " * 300, "mit")
    split = tiny.dataset([], rows).test

    found = held_out(tiny.blobs.path(split.rows), tokenizer, "Name it.", 4, 256)

    assert [each.text for each in found] == ["Name it.\ntext 2", "Name it.\ntext 7"]
    assert list(found[0].prompt) == prompt_ids(tokenizer, question("Name it.", "text 2"))
    assert found[0].answer[-1] in stop_ids(tokenizer)
    with pytest.raises(DataError, match="no row"):
        held_out(tiny.blobs.path(split.rows), tokenizer, "Name it.", 4, 20)


def test_what_a_model_says_is_what_transformers_says(tiny: Any) -> None:
    loaded = load_model(tiny.base, tiny.blobs)
    asked = Question(text="a", prompt=(5, 6, 7), answer=(8, 9))
    stops = frozenset({400})
    subject = Subject(model=loaded.model, prompt=lambda _text: (5, 6, 7), stops=stops)
    done: list[int] = []

    (found,) = observe(subject, [asked], done.append)

    with torch.inference_mode():
        logits = loaded.model(input_ids=torch.tensor([[5, 6, 7, 8, 9]])).logits[0]
    torch.testing.assert_close(found.logits, logits[2:4])
    generated = loaded.model.generate(
        torch.tensor([[5, 6, 7]]),
        attention_mask=torch.ones(1, 3),
        max_new_tokens=len(asked.answer) + ROOM,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert list(found.answer) == generated[0, 3:].tolist()
    assert not found.stopped
    assert done == [1]
    assert len(found.answer) <= MAX_ANSWER + ROOM
    stop = found.answer[2]
    (cut,) = observe(
        Subject(model=loaded.model, prompt=subject.prompt, stops=frozenset({stop})),
        [asked],
        done.append,
    )
    assert cut.answer == found.answer[: found.answer.index(stop) + 1]
    assert cut.stopped
