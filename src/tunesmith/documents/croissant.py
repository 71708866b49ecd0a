"""A frozen dataset in Croissant, the metadata format of MLCommons: JSON-LD that dataset searches
and loaders read.

Croissant 1.1 (http://mlcommons.org/croissant/1.1) with the responsible-AI vocabulary RAI 1.0
(http://mlcommons.org/croissant/RAI/1.0). Only what is recorded is said. So three properties that
the specification requires are left to whoever publishes the dataset: `url`, `datePublished`, and,
where no source states its owner, `creator`.

Where the specification and its validator, mlcroissant 1.1.1, disagree, what validates is written:
- schema.org is https://schema.org/; with http://, as 1.1 recommends, nothing is a Dataset for it.
- A format's fields that stand in the JSON of the column `content` are not fields here: neither has
  a way to take a part out of JSON in a column (mlcroissant would load nothing for it), and other
  files, with a column for each, would not be the frozen ones, whose digests the record has. So
  `content` is one field, whose description names its keys. Of labels, text and label are columns.
- `rai:dataCollectionTimeframe` and `rai:dataManipulationProtocol` have other names in the validator
  than in the specification, and are not used; what was masked is in `dataPreprocessingProtocol`.
- Parquet is application/x-parquet for it, and application/vnd.apache.parquet by IANA: both are
  named.
- A creator is a person or an organisation. Which an owner is nobody records: it is written as an
  organisation.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tunesmith.core.ref import PARQUET
from tunesmith.documents.croissant_check import require_valid
from tunesmith.documents.describe import (
    DatasetFacts,
    SourceFacts,
    limitations,
    personal_data,
    preprocessing,
)
from tunesmith.records.data import Split
from tunesmith.records.rows import FORMATS
from tunesmith.stages.curate.config import TASKS

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
FILE = "croissant.json"
_OWN = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field",
    "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset",
    "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
CONTEXT: Mapping[str, Any] = MappingProxyType(
    {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "prov": "http://www.w3.org/ns/prov#",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "description": {"@container": "@language"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "name": {"@container": "@language"},
        **{name: f"cr:{name}" for name in _OWN},
    }
)
"""The context that mlcroissant takes for the standard one, and PROV-O."""
_COLUMNS: Mapping[str, tuple[str | Sequence[str], str]] = {
    "row_id": ("sc:Text", "Which row of its data asset it is; the same id there."),
    "asset": ("sc:Text", "The data asset that it came from."),
    "pointer": ("sc:Text", "Where in that source it stands, e.g. file and line."),
    "text": ("sc:Text", "What near duplicates are found by; of a labelled text the text itself."),
    "label": ("sc:Text", "What the split is stratified by; empty where the format has none."),
    "component": ("sc:Text", "Its component of rows that are on one side of the split together."),
    "num_tokens": ("sc:Integer", "How many tokens are trained on."),
}
"""Of a side's table: type and meaning; `content` is said by format."""


def croissant(facts: DatasetFacts) -> dict[str, Any]:
    """The description of a dataset: a pure function of what is recorded of it.

    Its files are called as `tunesmith data checkout` calls them, so that it describes that folder.

    Raises:
        DataError: something that is recorded does not fit into Croissant; the message names where.
    """
    dataset = facts.dataset
    sides = {"train": dataset.train, "test": dataset.test}
    said = {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": dataset.name,
        "description": _description(facts),
        "version": f"{facts.number}.0.0",
        "identifier": f"sha256:{facts.digest}",
        "dateCreated": facts.made_at,
        "isLiveDataset": False,
        "license": [_licence(each) for each in facts.stated("licence")],
        "creator": [{"@type": "sc:Organization", "name": name} for name in facts.stated("owner")],
        "inLanguage": list(facts.languages),
        "prov:wasDerivedFrom": [_entity(source) for source in facts.sources],
        **dict(_responsible(facts)),
        "distribution": [_file(name, side) for name, side in sides.items()],
        "recordSet": [_records(name, side, dataset.format) for name, side in sides.items()],
    }
    found = {name: value for name, value in said.items() if value != []}
    require_valid(found, CONTEXT, CONFORMS_TO, facts.ref)
    return found


def croissant_file(facts: DatasetFacts) -> str:
    """The text of the file that `tunesmith data checkout` writes beside the dataset's tables."""
    return json.dumps(croissant(facts), ensure_ascii=False, indent=2) + "\n"


def _description(facts: DatasetFacts) -> str:
    dataset = facts.dataset
    names = ", ".join(source.asset.name for source in facts.sources)
    return (
        "Rows to fine-tune a language model on, and to test it. "
        f"The task: {TASKS[dataset.format]}. "
        f"{dataset.train.num_rows} rows to tune on and {dataset.test.num_rows} to test on, of the "
        f"format {dataset.format!r}, cut from: {names}."
    )


def _licence(name: str) -> dict[str, str]:
    """As it is declared. It may be an expression, or a text that is no SPDX licence at all, so no
    address of a licence is made of it."""
    return {"@type": "sc:CreativeWork", "name": name}


def _entity(source: SourceFacts) -> dict[str, Any]:
    """A data asset, as PROV-O has it."""
    return {
        "@type": "prov:Entity",
        "prov:label": f"{source.asset.name} ({source.asset.origin})",
        "identifier": f"sha256:{source.digest}",
    }


def _responsible(facts: DatasetFacts) -> Iterator[tuple[str, Any]]:
    """The properties of the responsible-AI vocabulary that something is recorded for."""
    sources = facts.sources
    yield (
        "rai:dataCollection",
        "First read into the store: "
        + "; ".join(f"{each.asset.name}, {each.kind}, on {each.read_on}" for each in sources)
        + ".",
    )
    yield (
        "rai:dataCollectionRawData",
        "; ".join(f"{each.asset.name}: {each.asset.origin}" for each in sources) + ".",
    )
    yield "rai:dataPreprocessingProtocol", list(preprocessing(facts))
    yield "rai:personalSensitiveInformation", list(personal_data(facts))
    yield "rai:dataLimitations", list(limitations(facts))
    purposes = (f"Stated purpose of the sources: {each}" for each in facts.stated("purpose"))
    yield "rai:dataUseCases", ["Fine Tuning", "Testing", *purposes]


def _file(name: str, side: Split) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": f"{name}.parquet",
        "name": f"{name}.parquet",
        "contentUrl": f"{name}.parquet",
        "contentSize": f"{side.rows.num_bytes} B",
        "encodingFormat": [PARQUET, "application/x-parquet"],
        "sha256": side.rows.sha256,
    }


def _records(name: str, side: Split, format: str) -> dict[str, Any]:
    """The rows of a side."""
    columns = {**_COLUMNS, "content": ("sc:Text", _content(format))}
    if format == "labels":
        columns["label"] = (["sc:Text", "cr:Label"], "What the text is to be given.")
    use = {"train": "tune", "test": "test"}[name]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"The {side.num_rows} rows to {use} on ({side.num_tokens} tokens).",
        "key": [{"@id": f"{name}/row_id"}, {"@id": f"{name}/asset"}],
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": meaning,
                "dataType": kind,
                "source": {
                    "fileObject": {"@id": f"{name}.parquet"},
                    "extract": {"column": column},
                },
            }
            for column, (kind, meaning) in columns.items()
        ],
    }


def _content(format: str) -> str:
    keys = ", ".join(field.name for field in dataclasses.fields(FORMATS[format]))
    return f"The row in the format {format!r}: a JSON object (RFC 8785) with the keys {keys}."
