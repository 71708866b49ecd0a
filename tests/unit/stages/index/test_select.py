import json

import pytest

from tunesmith.core.errors import DataError
from tunesmith.stages.index.select import parts, select, to_document


def _row(label, **attributes):
    return {
        "pointer": f"{label}.LICENSE",
        "label": label,
        "text": "Text.",
        "attributes": json.dumps(attributes),
    }


def test_parts_of_a_compound_label():
    assert parts("gpl-2.0 OR (mit and bsd-new)") == {"gpl-2.0", "mit", "bsd-new"}
    assert parts("gpl-2.0 WITH classpath") == {"gpl-2.0", "classpath"}
    assert parts("orange") == {"orange"}


def test_the_commonest_are_taken_and_ties_go_by_name():
    documents = [to_document(_row(label)) for label in ("d", "c", "b", "a")]
    labels = ["c OR b", "c", "c AND x", "b", "d"]
    taken, left_out = select(documents, labels, 2)
    assert [document.key for document in taken] == ["c", "b"]
    assert [document.key for document in left_out] == ["d", "a"]
    taken, _ = select(documents, (), 2)
    assert [document.key for document in taken] == ["a", "b"]


def test_names_and_title():
    document = to_document(_row("mit", name="MIT License", short_name="MIT", owner=3))
    assert document.title == "MIT License"
    assert document.names == ("mit", "MIT License", "MIT")
    assert to_document(_row("mit", name="M", title="T")).title == "T"
    assert to_document(_row("mit")).title == "mit"


def test_a_row_without_a_label_is_refused():
    with pytest.raises(DataError, match="no label"):
        to_document(_row("", page=3))


def test_a_file_that_is_one_text_is_called_by_its_path():
    row = _row("") | {"pointer": "terms/returns_of-kettles.v2.txt"}
    document = to_document(row)
    assert document.key == "terms/returns_of-kettles.v2.txt"
    assert document.title == "returns of kettles.v2"
    assert document.names == (document.title,)
    other = to_document(_row("") | {"pointer": "a.txt"})
    taken, _ = select([other, document], ["returns of kettles.v2"], 1)
    assert taken == [document]


def test_a_document_with_a_page_map_is_called_by_its_file_and_has_its_pages():
    row = _row("", pages=[[0, 3, 1], [4, 9, "Scope"], ["odd"], [1, 2, None]])
    document = to_document(row)
    assert document.key == row["pointer"]
    assert document.pages == ((0, 3, "page 1"), (4, 9, "Scope"))
    assert to_document(_row("mit", pages=[])).key == "mit"
    assert to_document(_row("mit", pages="12-14")).pages == ()
    assert (document.has_layout, to_document(_row("mit", pages="12-14")).has_layout) == (
        True,
        False,
    )


@pytest.mark.parametrize(
    ("attributes", "sections"),
    [
        ({"pages": [[0, 3, 1], [5, 9, 2]]}, ()),
        ({"pages": [[0, 3, 1]], "sections": [0, 2]}, (0, 2)),
        ({"pages": [[0, 3, "One"], [5, 9, "Two"]]}, (0, 5)),
        ({"sections": [1, 2]}, ()),
        ({"pages": 3}, ()),
    ],
)
def test_sections_begin_where_the_map_says(attributes, sections):
    row = {
        "label": "a",
        "pointer": "a",
        "text": "One\n\nTwo.",
        "attributes": json.dumps(attributes),
    }
    assert to_document(row).sections == sections
