"""What people's time costs, by data asset: hand-computed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tunesmith.lineage.reviewing import review_seconds
from tunesmith.lineage.value import spent
from tunesmith.review.desk import at_work

LETTERS = """[source.letters]
origin = "pypi:letters==1.0"
files = ["*"]
label = "kind"
[transform.short]
sources = ["notes"]
sql = "SELECT row_id, text FROM notes"
[base.small]"""


def test_time_is_priced_by_the_asset_whose_rows_were_looked_at(ward):
    """20 s + 60 s (of an hour at lunch) + 10 s at 36.00 an hour: 0.90."""
    ward.set("[base.small]", LETTERS)
    first, second, *_ = ward.start()
    ward.judge("ann", first, "a", 20.0)
    ward.judge("bob", first, "b", 3600.0)
    ward.decide("cat", first, "a", 10.0)
    ward.judge("ann", second, "a", None)
    found = spent(ward.project, ["notes", "letters"])
    assert found["notes"].review_s == 90.0
    assert found["notes"].review_cost.amount == Decimal("0.9")
    assert found["notes"].cost is None  # machines have no price here
    assert (found["letters"].review_s, found["letters"].review_cost.amount) == (0.0, 0)
    # What is made from rows that were looked at took that, too; of both together it is half each.
    assert spent(ward.project, ["short"])["short"].review_s == 90.0
    both = spent(ward.project, ["notes", "short"])
    assert [both[name].review_s for name in ("notes", "short")] == [45.0, 45.0]

    ward.set('per_review_hour = "36.00"', 'per_cpu_hour = "1"')
    found = spent(ward.project, ["notes"])["notes"]
    assert (found.review_s, found.review_cost) == (90.0, None)
    assert found.cost.amount == 0


def test_time_on_rows_that_are_gone_is_shared_by_the_sources(ward):
    gone, *others = ward.start()
    ward.judge("ann", gone, "a", 30.0)
    ward.judge("ann", others[0], "a", 12.0)
    texts = at_work(ward.project, "kinds").texts
    record = ward.project.load(ward.project.runs()[0])
    ward.cut([(texts[row], "ab"[place % 2]) for place, row in enumerate(others)])
    ward.project.purged = frozenset({record.train.rows.sha256})
    assert review_seconds(ward.project) == {"notes": pytest.approx(27.0), "letters": 15.0}


def test_without_reviews_there_is_no_time(ward):
    assert review_seconds(ward.project) == {}
    found = spent(ward.project, ["notes"])["notes"]
    assert (found.review_s, found.review_cost.amount) == (0.0, 0)
