"""What durability costs: an evidence entry through our store, beside a bare sqlite3 insert with the
same settings, in interleaved pairs."""

from __future__ import annotations

import sqlite3
import statistics
import time

import pytest

from tunesmith.core.db import Database
from tunesmith.core.evidence import append
from tunesmith.core.migrations import migrate

PAIRS, WARM_UP = 300, 20


@pytest.mark.bench
def test_commit(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'ours.db'}")
    migrate(database, tmp_path)
    bare = sqlite3.connect(tmp_path / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode=WAL")
    bare.execute("PRAGMA synchronous=FULL")
    bare.execute("CREATE TABLE evidence (seq INTEGER PRIMARY KEY, body TEXT)")
    ours_s, bare_s = [], []
    for number in range(WARM_UP + PAIRS):
        start = time.perf_counter()
        with database.write() as connection:
            append(connection, "wrote", "bench", {"number": number})
        middle = time.perf_counter()
        bare.execute("BEGIN IMMEDIATE")
        bare.execute("INSERT INTO evidence (body) VALUES (?)", (f'{{"number":{number}}}',))
        bare.execute("COMMIT")
        ours_s.append(middle - start)
        bare_s.append(time.perf_counter() - middle)
    bare.close()
    database.close()
    ours_s, bare_s = ours_s[WARM_UP:], bare_s[WARM_UP:]
    ratios = [ours / peer for ours, peer in zip(ours_s, bare_s, strict=True)]
    p95 = statistics.quantiles(ours_s, n=20)[-1]
    print(
        f"\ncommit: ours median {1e3 * statistics.median(ours_s):.2f} ms, p95 {1e3 * p95:.2f} ms; "
        f"ours / bare sqlite3, median of {PAIRS} pairs: {statistics.median(ratios):.2f}"
    )
    assert len(ratios) == PAIRS
