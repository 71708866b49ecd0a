import dataclasses
import sqlite3

import pytest

from tunesmith.core.errors import DataError, NotFound, StoreError
from tunesmith.retrieve.store import Document, Store, build, canonical
from tunesmith.text.normalise import normalise


def _silent(*_):
    """Report no progress."""


def test_the_same_documents_give_the_same_bytes(documents, tmp_path):
    build(tmp_path / "a", documents, _silent)
    build(tmp_path / "b", documents[::-1], _silent)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_sentence_is_a_span_of_its_document(documents, path):
    with Store(path) as store:
        assert store.num_sentences == 8
        for place in store.sentences(range(1, 9)):
            text = store.document(place.document).text
            assert text[place.start : place.end].endswith(".")
            assert text[place.start : place.end].strip() == text[place.start : place.end]
        assert store.names() == {d.key: d.names for d in sorted(documents, key=lambda d: d.key)}


def test_what_a_reader_cannot_see_is_not_in_the_index(tmp_path):
    hidden = "The fee\u200b is ten\u202e euros\U000e0049\U000e0047 for a copy."
    build(tmp_path / "i", [Document(key="k", title="K", names=("k",), text=hidden)], _silent)
    with Store(tmp_path / "i") as store:
        assert store.document("k").text == "The fee is ten euros for a copy." == normalise(hidden)


def test_white_space_of_code_stays_where_a_reader_of_documents_found_it(tmp_path):
    code = "Say this:\n\ndef f(x):\n    return  x\n\nThe fee is due."
    made = Document(key="k", title="K", names=("k",), text=code, sections=(code.index("The fee"),))
    for has_layout, hidden, expected in (
        (True, "", code),
        (False, "", normalise(code)),
        (True, "\u200b", normalise(code)),  # not what a reader of documents leaves
    ):
        document = dataclasses.replace(made, has_layout=has_layout, text=code + hidden)
        path = tmp_path / f"{has_layout}{hidden!r}"
        build(path, [document], _silent)
        with Store(path) as store:
            assert store.document("k").text == expected
    assert canonical(dataclasses.replace(made, has_layout=True)).sections == made.sections


def test_search_finds_words_in_any_ending_and_spelling(path):
    with Store(path) as store:
        assert store.sentences_with("distribute") == store.sentences_with("distributing")
        assert len(store.sentences_with("distribute")) == 2
        (number,) = store.sentences_with("license")
        (place,) = store.sentences([number])
        assert place.document == "stork-2.0"  # "a patent licence"
        assert store.sentences_with("nowhere") == frozenset()
        found = store.search_passages(["patent", "warranty"], 5, names_weight=1.0)
        assert len(found) == 2
        assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)
        assert all(score > 0 for _, score in found)
        within = store.search_passages(
            ["patent", "warranty"], 5, names_weight=1.0, within=["heron", "stork-1.0"]
        )
        assert within == [row for row in found if row in within]
        assert len(within) == 1
        assert store.documents_with("distributing") == {"stork-1.0", "stork-2.0"}
        assert store.documents_with("nowhere") == frozenset()


def test_bm25_is_that_of_the_literature(tmp_path):
    # Robertson's formula with k1 = 1.2 and b = 0.75, by hand; one sentence a document.
    import math

    texts = {"a": "cat cat dog.", "b": "dog bird fish fish.", "c": "bird tree sky wind rain."}
    build(
        tmp_path / "i",
        [Document(key=key, title=key, names=("-",), text=text) for key, text in texts.items()],
        _silent,
    )
    with Store(tmp_path / "i") as store:
        found = store.search_sentences(["cat"], [1, 2, 3])
    idf = math.log((3 - 1 + 0.5) / (1 + 0.5))
    tf, length, mean = 2, 3, 4
    expected = idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / mean))
    assert found == {1: pytest.approx(expected)}


def test_two_documents_of_one_key_are_refused(documents, tmp_path):
    with pytest.raises(DataError, match="heron"):
        build(tmp_path / "i", [*documents, documents[0]], _silent)


def test_the_file_is_opened_for_reading_alone(path):
    with Store(path) as store, pytest.raises(sqlite3.OperationalError, match="readonly"):
        store._database.execute("DELETE FROM document")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_no_index_is_refused(tmp_path):
    (tmp_path / "i").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(StoreError, match="not an index"):
        Store(tmp_path / "i")
    with pytest.raises(StoreError, match="not an index"):
        Store(tmp_path / "absent")


def test_a_changed_text_is_not_returned(path):
    database = sqlite3.connect(path)
    database.execute("UPDATE document SET text = replace(text, 'without a fee', 'for a fee')")
    database.commit()
    database.close()
    with Store(path) as store:
        with pytest.raises(StoreError, match="damaged"):
            store.document("heron")
        with pytest.raises(NotFound):
            store.document("absent")


def test_a_span_is_on_the_pages_that_it_touches(tmp_path):
    from tunesmith.retrieve.store import Page

    pages = (Page(0, 5, "page 1"), Page(6, 11, "page 2"), Page(12, 17, "Scope"))
    paged = Document(key="a", title="A", names=("a",), text="alpha\nbravo\ncharl", pages=pages)
    shifted = Document(key="b", title="B", names=("b",), text="alpha  \nbravo", pages=pages[:2])
    build(tmp_path / "index", [paged, shifted], lambda *_: None)
    with Store(tmp_path / "index") as store:
        assert store.pages("a", 0, 5) == ["page 1"]
        assert store.pages("a", 4, 13) == ["page 1", "page 2", "Scope"]
        assert store.pages("a", 5, 6) == []
        assert store.pages("b", 0, 5) == [], "its text was not canonical: the offsets are others"


def test_no_passage_goes_on_from_one_section_to_the_next(tmp_path):
    text = "One\n\nA first text. It ends.\n\nTwo\n\nA second text."
    document = Document(
        key="a", title="A", names=("a",), text=text, sections=(0, text.index("Two"))
    )
    counts = build(tmp_path / "a.sqlite", [document], lambda *_: None)
    assert (counts.num_passages, counts.num_sentences) == (2, 5)
    # Of a text that is not canonical, the places are elsewhere.
    odd = dataclasses.replace(document, text=text.replace("\n\n", "\n\n\n"))
    assert build(tmp_path / "b.sqlite", [odd], lambda *_: None).num_passages == 1
