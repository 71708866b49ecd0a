"""Rows by a function: what it may return, what becomes of what it may not, and what it is kept
from."""

from __future__ import annotations

import collections
import time

import psutil
import pytest

from tunesmith.core.errors import DataError

MAIL = [{"id": n, "text": f"Letter {n}.", "label": "ab"[n % 2], "tags": ["x", n]} for n in range(9)]


def body(*lines: str) -> str:
    return "\n".join(["def tidy(row):", *(f"    {line}" for line in lines)]) + "\n"


def test_one_none_several_and_an_exception(desk, id_of):
    """Each row that was given is counted once, whatever came of it."""
    made = desk.run(
        desk.asset("mail", *MAIL, subject="id"),
        python=body(
            "n = row['id']",
            "if n == 2: return None",
            "if n == 3: return []",
            "if n == 4: return [{'text': f'{n} a', 'id': n}, {'text': f'{n} b', 'id': n}]",
            "if n == 5: raise ValueError('not this one')",
            "if n == 6: return [{'text': 'kept', 'id': n}, {'text': ' '}]",
            "return {**row, 'text': row['text'].upper(), 'title': 'T'}",
        ),
    )
    rows, parents = desk.rows(made), desk.parents(made)
    numbers = {id_of("mail", n): n for n in range(9)}
    found = collections.Counter(numbers[parents[row["row_id"]][0]] for row in rows)
    assert found == {0: 1, 1: 1, 4: 2, 6: 1, 7: 1, 8: 1}
    assert all(len(parents[row["row_id"]]) == 1 for row in rows)
    first = rows[0]
    assert (first["text"], first["label"], first["pointer"]) == ("LETTER 0.", "a", "mail.jsonl#1")
    assert first["attributes"]["tags"] == ["x", 0]
    refused = {row["rule"]: row for row in desk.rows(made, "quarantine")}
    assert refused.keys() == {"transform-error", "empty-text"}
    error = refused["transform-error"]
    assert error["reason"] == "ValueError: not this one (clean.py, line 6)"
    assert (error["pointer"], error["value"]) == ("mail.jsonl#6", "")
    assert parents[error["row_id"]] == [id_of("mail", 5)]
    assert parents[refused["empty-text"]["row_id"]] == [id_of("mail", 6)]
    assert (made.num_in, made.num_rows, made.num_quarantined, made.num_filtered) == (11, 7, 2, 2)
    assert (made.num_read, made.num_used, made.num_refused, made.num_unused) == (9, 6, 1, 2)
    assert made.quarantined_by_rule == {"empty-text": 1, "transform-error": 1}
    assert (made.subject, made.licence) == ("id", "MIT")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{'a': {1}}", "it returned a set, which JSON has not"),
        ("{'a': (1, 2)}", "it returned a tuple"),
        ("{'a': float('nan')}", "it returned nan"),
        ("{1: 'a'}", "a key that is a int"),
        ("{'a': b'x'}", "it returned a bytes"),
        ("'text'", "neither a dict, nor a list of dicts, nor None"),
        ("[{'a': 1}, 2]", "neither a dict, nor a list of dicts, nor None"),
        ("{'a': '\\ud800'}", "UnicodeEncodeError"),
        ("row['missing']", "KeyError: 'missing'"),
        ("__import__('sys').exit(3)", "SystemExit: 3"),
        ("tidy(row)", "RecursionError"),
        ("open('/etc/passwd').read()", "may not read /etc/passwd"),
        ("open('left', 'w').write('x')", "may not write left"),
        ("__import__('os').remove('clean.py')", "may not do this (os.remove)"),
        ("__import__('subprocess').run(['true'])", "may not do this (subprocess.Popen)"),
        ("__import__('os').system('true')", "may not do this (os.system)"),
        ("__import__('socket').create_connection(('127.0.0.1', 9))", "may not do this (socket"),
    ],
)
def test_a_row_whose_answer_cannot_be_used_is_quarantined(desk, value, words):
    made = desk.run(
        desk.asset("mail", *MAIL[:2]),
        python=body("if row['id'] == 0: return {'a': 1}", f"return {value}"),
    )
    (refused,) = desk.rows(made, "quarantine")
    assert words in refused["reason"]
    assert made.num_rows == 1
    assert not list(desk.path.rglob("left"))


def test_what_it_prints_is_no_answer_and_what_it_reads_is_no_row(desk):
    made = desk.run(
        desk.asset("mail", *MAIL),
        python="import os, sys\nprint('{\"rows\": []}')\n"
        + body(
            'print(\'{"rows": [{"text": "printed"}]}\', flush=True)',
            'os.write(1, b\'{"problem": "written"}\\n\')',
            "sys.stderr.write('x' * 100_000)",
            "return {'text': row['text'], 'read': sys.stdin.read()}",
        ),
    )
    assert [row["text"] for row in desk.rows(made)] == [row["text"] for row in MAIL]
    assert {row["attributes"]["read"] for row in desk.rows(made)} == {""}


def test_it_starts_with_a_clean_environment(desk, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.setenv("PYTHONPATH", str(desk.path))
    (desk.path / "beside.py").write_text("WORD = 1\n")
    made = desk.run(
        desk.asset("mail", *MAIL[:1]),
        python="import os\n"
        + body("return {'text': ' '.join(sorted(os.environ)), 'order': list(set('abcdef'))}"),
    )
    (row,) = desk.rows(made)
    assert "SECRET_TOKEN" not in row["text"]
    with pytest.raises(DataError, match=r"No module named 'beside'"):
        desk.run(desk.asset("mail", *MAIL[:1]), python="import beside\n" + body("return row"))


@pytest.mark.parametrize(
    "returned",
    [
        "{'text': str(random.random())}",
        "{'text': str(time.time_ns())}",
        "{'text': str(id(object()))}",
        "{'text': str(next(counter))}",
        "None if next(counter) % 2 else row",
        "1 / (next(counter) % 2) and row",
    ],
)
def test_a_function_that_answers_otherwise_when_asked_again_is_refused(desk, returned):
    head = "import itertools, random, time\ncounter = itertools.count()\n"
    with pytest.raises(DataError) as caught:
        desk.run(desk.asset("mail", *MAIL[:8]), python=head + body(f"return {returned}"))
    said = " ".join(str(caught.value).split())
    assert "answers otherwise when it is asked again about mail.jsonl#" in said
    assert "Letter" not in said


def test_a_function_that_never_answers_is_stopped(desk):
    started = time.monotonic()
    with pytest.raises(DataError, match=r"no answer after 1\.5 s to mail\.jsonl#2 \("):
        desk.run(
            desk.asset("mail", *MAIL),
            python=body("while row['id'] == 1: pass", "return row"),
            timeout_s=1.5,
        )
    assert time.monotonic() - started < 20


def test_a_process_that_ends_itself_ends_the_run(desk):
    with pytest.raises(DataError, match=r"ended its process at mail\.jsonl#3 \(exit code 7\)"):
        desk.run(
            desk.asset("mail", *MAIL),
            python="import os\n" + body("if row['id'] == 2: os._exit(7)", "return row"),
        )


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("def tidy(row:\n", r"SyntaxError"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero \(clean\.py, line 1\)"),
        ("def other(row): return row\n", r"there is no function 'tidy' in it"),
        ("tidy = 3\n", r"there is no function 'tidy' in it"),
    ],
)
def test_a_file_that_cannot_be_used(desk, python, words):
    with pytest.raises(DataError, match=words):
        desk.run(desk.asset("mail", *MAIL), python=python)


def test_nothing_but_errors_is_no_asset_and_says_no_text(desk):
    python = body("raise ValueError(row['text'])")
    with pytest.raises(DataError) as caught:
        desk.run(desk.asset("mail", *MAIL), python=python)
    said = " ".join(str(caught.value).split())
    assert "no usable row" in said
    assert "ValueError (clean.py, line 2)" in said
    assert "Letter" not in said


def test_many_rows_in_order_and_large_ones(desk):
    """More than the pipes hold, both ways."""
    rows = [{"id": n, "text": f"{n} " + "x" * (300_000 if n == 500 else 300)} for n in range(1500)]
    made = desk.run(desk.asset("mail", *rows), python=body("return {**row, 'n': len(row['text'])}"))
    assert [row["attributes"]["id"] for row in desk.rows(made)] == list(range(1500))
    assert made.num_used == 1500
    assert made.edges.num_bytes < 40 * 1500, "an edge is two ids of 16 bytes, and little more"


def test_no_process_is_left(desk):
    """Neither of a function with a thread that goes on, nor of one that was stopped."""
    before = set(psutil.Process().children())
    head = "import os, threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    desk.run(desk.asset("mail", *MAIL[:1]), python=head + body("return row"))
    with pytest.raises(DataError, match="no answer"):
        desk.run(desk.asset("mail", *MAIL[:1]), python=body("while True: pass"), timeout_s=0.1)
    assert set(psutil.Process().children()) - before == set()
