"""What is recorded of a frozen dataset, as its descriptions for others need it.

Both descriptions, Croissant (`croissant.py`) and the training-content sheet
(`training_content.py`), say nothing that the record, its run and the records of its sources do not
say. They are sealed when the dataset is frozen (`frozen.py`), and can be made again, of every
version that was ever frozen, as of now; no step's key depends on them. No text of a row is in them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.catalog import Run, Version
from tunesmith.project import Project
from tunesmith.records.data import DataAsset, Dataset, SemanticSize
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.records.transform import TransformedAsset
from tunesmith.stages.curate.config import TREATED
from tunesmith.stages.ingest.origin import LOCAL, POSTGRES, SQLITE, WEB
from tunesmith.text.names import MODEL

NOT_STATED = "not stated"
"""What a source's section says of what nobody said; see `SourceConfig`."""
_KINDS = {
    LOCAL: "files of the project's folder",
    SQLITE: "database",
    POSTGRES: "database",
    **dict.fromkeys(WEB, "API"),
}
PACKAGE = "package"
_NO_LANGUAGE = ("und", "zxx")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFacts:
    """A data asset that the dataset was cut from."""

    asset: DataAsset
    digest: str
    """Of its record."""
    read_on: str
    """The date on which these rows were first read into the store, e.g. "2026-07-01"."""

    @property
    def kind(self) -> str:
        """From what kind of system it was read."""
        for prefix, kind in _KINDS.items():
            if self.asset.origin.startswith(prefix):
                return kind
        return PACKAGE


@dataclass(frozen=True, kw_only=True, slots=True)
class TunedModel:
    """A model version that was tuned on the dataset."""

    name: str
    """e.g. "desk@1"."""
    base: BaseModel
    teacher: str
    """The version of the model that taught it; empty for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFacts:
    """All that the descriptions say of a dataset's version."""

    dataset: Dataset
    number: int
    """Of the version: the first is 1."""
    digest: str
    """Of its record, which holds the digests of its files."""
    made_at: str
    """When it was frozen (ISO 8601, UTC)."""
    config: Mapping[str, Any]
    """Its section of the project file, as it was when it was frozen."""
    base: BaseModel
    """With whose tokenizer its tokens are counted."""
    sources: tuple[SourceFacts, ...]
    models: tuple[TunedModel, ...]
    is_erased: bool
    """Whether its rows were removed from the store, for the sake of somebody forgotten."""
    transforms: tuple[TransformedAsset, ...] = ()
    """What was made from the sources on the way to it, the last first."""

    @property
    def ref(self) -> str:
        """What people write, e.g. "letters@2"."""
        return f"{self.dataset.name}@{self.number}"

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that its rows were kept for (ISO 639-1); none where they were not told."""
        return tuple(each for each in self.config.get("languages", ()) if each not in _NO_LANGUAGE)

    def stated(self, field: str) -> tuple[str, ...]:
        """What its sources state as `field` (licence, owner, purpose), each thing once."""
        said = (getattr(each.asset, field) for each in self.sources)
        return tuple(dict.fromkeys(each for each in said if each != NOT_STATED))


def describe(
    project: Project, version: Version, run: Run, dataset: Dataset, *, is_erased: bool
) -> DatasetFacts:
    """The facts of a dataset's `version`, which `run` made first."""
    runs = [each for each in project.runs() if each.status == "succeeded" and each.output]
    made: dict[str, Run] = {}
    for each in runs:  # the oldest first: the same rows, read again, are not younger for it
        assert each.output is not None
        made.setdefault(each.output.sha256, each)
    inputs = run.identity["inputs"]
    return DatasetFacts(
        dataset=dataset,
        number=version.number,
        digest=version.digest,
        made_at=version.created_at,
        config=run.identity["config"],
        base=project.load(made[inputs["base"][0]]),
        sources=tuple(_sources(project, made, inputs["assets"])),
        transforms=tuple(_transforms(project, made, inputs["assets"])),
        models=tuple(_models(project, runs, version.digest)),
        is_erased=is_erased,
    )


def _sources(
    project: Project, made: Mapping[str, Run], digests: Sequence[str]
) -> Iterator[SourceFacts]:
    """The sources behind the data assets with these digests, each once."""
    seen: set[str] = set()
    queue = list(digests)
    while queue:
        digest = queue.pop(0)
        behind = made[digest].identity["inputs"].get("sources")
        if behind:
            queue[:0] = behind
        elif digest not in seen:
            seen.add(digest)
            yield _source(project, made[digest], digest)


def _transforms(
    project: Project, made: Mapping[str, Run], digests: Sequence[str]
) -> Iterator[TransformedAsset]:
    """The data assets among them, and behind them, that a transform made, each once."""
    order = list(dict.fromkeys(digests))
    for digest in order:  # which grows on the way
        asset = project.load(made[digest])
        if isinstance(asset, TransformedAsset):
            yield asset
            behind = made[digest].identity["inputs"]["sources"]
            order += [each for each in behind if each not in order]


def _source(project: Project, run: Run, digest: str) -> SourceFacts:
    asset = project.load(run)
    assert isinstance(asset, DataAsset)
    return SourceFacts(asset=asset, digest=digest, read_on=run.started_at[:10])


def _models(project: Project, runs: Sequence[Run], digest: str) -> Iterator[TunedModel]:
    """The models that were tuned on the dataset with that digest, each once."""
    names = {version.digest: f"{version.name}@{version.number}" for version in project.versions()}
    seen: set[str] = set()
    for run in runs:
        assert run.output is not None
        if run.kind != "finetune@1" or digest not in run.identity["inputs"]["dataset"]:
            continue
        if run.output.sha256 not in seen:
            seen.add(run.output.sha256)
            model = project.load(run)
            assert isinstance(model, ModelVersion)
            teachers: Collection[str] = run.identity["inputs"].get("teacher", ())
            yield TunedModel(
                name=names.get(run.output.sha256, model.name),
                base=model.base,
                teacher=", ".join(names.get(each, each[:12]) for each in teachers),
            )


def preprocessing(facts: DatasetFacts) -> Iterator[str]:
    """What became of the rows between the sources and the dataset, a sentence each."""
    dataset, config = facts.dataset, facts.config
    for source in facts.sources:
        yield _read(source.asset)
    for made in facts.transforms:
        yield (
            f"{made.name} was made by a transform: of {made.num_read} rows that it was given, "
            f"{made.num_used} are in its {made.num_rows} rows."
        )
    kept = dataset.train.num_rows + dataset.test.num_rows
    yield f"Of {dataset.num_in} rows of the sources {kept} were kept."
    for reason, count in dataset.dropped_by_reason.items():
        yield f"Dropped as {reason!r}: {count}."
    if dataset.size is not None:
        size = dataset.size
        yield (
            f"Of {size.rows} rows that are in the format and fit, {size.distinct} are distinct, "
            f"and {size.near_distinct} are so without near duplicates (Jaccard similarity of their "
            "words, or of their word 5-grams)."
        )
        if isinstance(size, SemanticSize):
            yield f"{size.semantic_distinct} of them differ in meaning, as an encoder sees it."
    if languages := config.get("languages"):
        yield f"Rows were kept if they were taken to be in one of: {', '.join(languages)}."
    yield (
        f"The rows form {dataset.num_components} components of near duplicates and of what belongs "
        "together; each is on one side of the split only."
    )
    if config.get("test_from"):
        yield f"Rows of {config['test_from']} or later, by {config['date']}, are tested on."
    if others := config.get("apart_from"):
        yield f"No training row is like a test row of: {', '.join(others)}."
    yield from synthetic(facts)
    if dataset.pii_treatment in ("mask", "pseudonymise"):
        names = " and names" if config.get("pii_names") else ""
        yield f"Of personal data that has a form{names}: {TREATED[dataset.pii_treatment]}"


def _read(asset: DataAsset) -> str:
    rules = ", ".join(f"{rule} {count}" for rule, count in asset.quarantined_by_rule.items())
    left_out = (
        (asset.num_quarantined, f"quarantined ({rules})"),
        (asset.num_filtered, "not asked for"),
        (asset.num_erased, "of people who are to be forgotten"),
    )
    counts = (f"{count} {what}" for count, what in left_out if count)
    taken = f"{asset.name}: {asset.num_in} records read, {asset.num_rows} taken"
    return f"{', '.join([taken, *counts])}."


def synthetic(facts: DatasetFacts) -> Iterator[str]:
    """What of the rows was generated; nothing where no source says that its rows were."""
    made = [each.asset.name for each in facts.sources if each.asset.synthetic]
    if made:
        kept = facts.dataset.train.num_rows + facts.dataset.test.num_rows
        yield (
            f"{facts.dataset.num_synthetic} of the {kept} rows are synthetic, of {', '.join(made)}:"
            " of each its generator, its prompt and the rows that it was made from are recorded."
        )


def personal_data(facts: DatasetFacts) -> Iterator[str]:
    """What is known of personal data in the rows, and what was done about it."""
    for source in facts.sources:
        if source.asset.subject:
            yield (
                f"The rows of {source.asset.name} are about persons, whom the field "
                f"{source.asset.subject!r} names; one person's rows are on one side of the split."
            )
    dataset = facts.dataset
    if dataset.pii_treatment == "off":
        yield "Personal data was not looked for."
        return
    found = ", ".join(f"{kind} {count}" for kind, count in dataset.pii.items()) or "none"
    names = facts.config.get("pii_names", ())
    what = "what has a form and of names" if names else "what has a form"
    yield f"Found of {what}, by kind: {found}. {TREATED[dataset.pii_treatment]}"
    unseen = "Postal addresses" if names else "Names, postal addresses"
    yield (
        "Looked for were e-mail and IP addresses, IBANs, payment cards, telephone numbers and "
        f"national numbers of four countries. {unseen}, dates of birth and what is told in words "
        "are not seen."
    )
    if names:
        yield f"Names ({', '.join(names)}) were looked for by a model, {MODEL}; it misses some."


def limitations(facts: DatasetFacts) -> Iterator[str]:
    """What whoever uses the dataset should not take for granted."""
    for source in facts.sources:
        if source.asset.licence == NOT_STATED:
            yield f"No licence is stated for {source.asset.name}."
    if not isinstance(facts.dataset.size, SemanticSize):
        yield (
            "Near duplicates are told by the words that two rows share: a paraphrase of a training "
            "row may be in the test rows, and is not seen."
        )
    if not facts.config.get("languages"):
        yield "In which languages the rows are was not looked at."
    yield "When and how the records came into the systems that they were read from is not recorded."
    if facts.is_erased:
        yield (
            "Its rows were removed from the store, because rows of somebody who was forgotten were "
            "among them."
        )
