"""The page that explains a verdict to people says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tunesmith.paired.difference import no_difference, of_outcomes
from tunesmith.paired.power import detectable

PAGE = (Path(__file__).parents[3] / "docs/explanation/what-a-verdict-says.md").read_text()
ROWS = 96


@pytest.mark.parametrize(
    ("won", "lost", "points", "p", "verdict"),
    re.findall(
        r"^\| [ABC] \| (\d+) \| (\d+) \| ([+-][\d.]+) points \| .* = ([\d.]+) \| (\w+) \|$",
        PAGE,
        re.M,
    ),
)
def test_the_models_of_the_table(won, lost, points, p, verdict):
    better, worse = int(won), int(lost)
    before = [0.0] * better + [1.0] * worse + [1.0] * (ROWS - better - worse)
    after = [1.0] * better + [0.0] * worse + [1.0] * (ROWS - better - worse)
    interval = of_outcomes(better, worse, ROWS, 0.95)

    assert (better - worse) / ROWS * 100 == pytest.approx(float(points), abs=0.05)
    assert no_difference(before, after, seed=0)[1] == pytest.approx(float(p), rel=0.03)
    said = "pass" if interval.low > 0 else "fail" if interval.high <= 0 else "inconclusive"
    assert said == verdict


def test_each_word_is_in_the_table():
    assert set(re.findall(r"\| (pass|fail|inconclusive) \|", PAGE)) == {
        "pass",
        "fail",
        "inconclusive",
    }


def test_what_could_be_shown_beforehand():
    found = re.search(r"a difference of ([\d.]+) points .*?one of ([\d.]+) points", PAGE, re.S)
    assert found is not None
    fifth, whatever = found.groups()
    assert 100 * detectable(ROWS, 0.95, 0.2) == pytest.approx(float(fifth), abs=0.05)
    assert 100 * detectable(ROWS, 0.95, 1.0) == pytest.approx(float(whatever), abs=0.05)
