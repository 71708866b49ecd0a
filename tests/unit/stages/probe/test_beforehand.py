from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from tunesmith.paired.power import detectable
from tunesmith.stages.probe.beforehand import OF_TEXTS, what_suite_could_show
from tunesmith.stages.probe.config import SuiteConfig, asking
from tunesmith.stages.probe.figures import ratio
from tunesmith.stages.probe.given import Given

CASES = """
[[test]]
name = "blanks"
type = "invariance"
cases = [{ input = "a", variants = ["b"] }, { input = "c", variants = ["d"] }]
"""


def said(kind: str, dataset: Any = None, given: str | None = None, **settings: Any) -> list[str]:
    config = asking(SuiteConfig(name="s", model="desk", kind=kind, **settings))  # type: ignore[arg-type]
    return what_suite_could_show(config, Given(text=given) if given else None, dataset, None)


def rows(tiny: Any, train: int, test: int) -> Any:
    dataset = tiny.dataset([], [("x", "mit")])
    return dataclasses.replace(
        dataset,
        train=dataclasses.replace(dataset.train, num_rows=train),
        test=dataclasses.replace(dataset.test, num_rows=test),
    )


def test_each_number_of_examples_is_said_once(tiny: Any) -> None:
    (texts,) = said("forgetting")
    assert texts.startswith("40 texts, 95% confidence, 80 % power: a difference of ")
    assert f"{OF_TEXTS:g} nats from row to row, which is assumed" in texts
    (one,) = said("robustness", rows(tiny, 500, 90))
    assert one.startswith("at most 48 test rows under each change")
    assert f"{100 * detectable(48, 0.95, 0.2):.1f} points" in one
    assert (
        f"lost, which can differ by 2 on a row, one of {200 * detectable(48, 0.95, 1):.1f} " in one
    )
    every, mine = said("behaviour", given=CASES, file="c.toml")
    assert (every[:6], mine[:15]) == ("2 case", "blanks, 2 cases")
    assert said("robustness") == ["what it could show is known when the dataset is cut"]
    assert "nothing is tested" in said("canaries", given="{}", file="c.jsonl")[0]
    assert "o.txt cannot be read" in said("injection", rows(tiny, 500, 90), file="o.txt")[0]
    harmful, harmless = said("refusals")
    assert harmful.startswith("at most 12 harmful")
    assert harmless.startswith("at most 12 harmless")
    (orders,) = said("injection", rows(tiny, 500, 90))
    assert orders.startswith("at most 8 test rows with 8 orders each")
    assert f"{100 * detectable(8, 0.95, 0.2):.1f} points" in orders  # rows, not rows by orders


def test_what_the_last_version_spread_by_is_what_the_next_is_taken_to(tiny: Any) -> None:
    draws = np.random.default_rng(1)
    base, counts = draws.normal(90, 5, 40), [30] * 40
    figure = ratio("loss of a token", base, base + draws.normal(0, 3, 40), counts,
                   confidence=0.95, seed=1)  # fmt: skip
    last = type("Last", (), {"figures": (figure,), "kind": "forgetting"})()
    config = asking(SuiteConfig(name="s", model="desk", kind="forgetting"))
    (told,) = what_suite_could_show(config, None, None, last)
    assert f"{figure.detectable:.2g} nats" in told
    surer = config.model_copy(update={"confidence": 0.999})
    (told,) = what_suite_could_show(surer, None, None, last)
    more = figure.detectable * (3.2905 + 0.8416) / (1.96 + 0.8416)
    assert f"99.9% confidence, 80 % power: a difference of {more:.2g} nats" in told
    other = type("Last", (), {"figures": (figure,), "kind": "membership"})()
    assert "which is assumed" in what_suite_could_show(config, None, None, other)[0]
    assert figure.detectable == pytest.approx(2.8 * 0.1 / math.sqrt(40), rel=0.3)


def test_an_area_that_could_be_shown_is_shown_four_times_out_of_five(tiny: Any) -> None:
    """Simulated: scores of two models that correlate by a half, one of them with the area said."""
    (told,) = said("membership", rows(tiny, 80, 80), num_rows=80)
    shown = float(told.split("a difference of ")[1].split(" ")[0])
    draws, gaps = np.random.default_rng(2), []
    for _ in range(600):
        shared = draws.normal(size=160)
        models = [(shared + draws.normal(size=160)) / math.sqrt(2) for _ in range(2)]
        areas = [np.mean(scores[:80, None] > scores[None, 80:]) for scores in models]
        gaps.append(areas[1] - areas[0])
    assert shown == pytest.approx(2.8 * np.std(gaps), rel=0.1)


def test_shares_of_a_suite_that_could_be_shown_are_shown_four_times_out_of_five(tiny: Any) -> None:
    """Simulated: McNemar's exact test of 200 rows of which a fifth differs."""
    (told,) = said("robustness", rows(tiny, 500, 200), num_rows=200)
    gap = float(told.split("a difference of ")[1].split(" ")[0]) / 100
    ways = [0.1 + gap / 2, 0.1 - gap / 2, 0.8]
    counts = np.random.default_rng(0).multinomial(200, ways, size=2000)
    differ = counts[:, 0] + counts[:, 1]
    p_value = np.minimum(1, 2 * binom.cdf(np.minimum(counts[:, 0], counts[:, 1]), differ, 0.5))
    assert 0.7 <= (p_value <= 0.05).mean() <= 0.9
