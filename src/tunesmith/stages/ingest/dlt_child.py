"""Run by path, in a process of its own: iterate one dlt resource, print it as a Singer tap does.

No pipeline, no normaliser, no destination: dlt's extraction alone, with the state that its
`incremental` and `resource_state` read and write given to it and printed at the end. What the
resource prints goes to standard error.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

NO_SUCH_RESOURCE, NO_DLT = 71, 72
"""Codes that it ends with."""
DELETED = "_sdc_deleted_at"


def main(path: str, name: str, state_file: str) -> None:
    """Print the messages of the resource `name` of the file at `path`."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1 << 16) as told:
        os.dup2(2, 1)  # what the resource's own code prints is no message
        sys.stdout = sys.stderr
        run(path, name, Path(state_file), told)


def run(path: str, name: str, state_file: Path, told: Any) -> None:
    """As `main`, to the stream `told`."""
    try:
        from dlt.common.configuration.container import Container
        from dlt.common.json import json as typed
        from dlt.common.pipeline import StateInjectableContext
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "dlt":
            raise
        sys.exit(NO_DLT)

    resource = resource_of(path, name)
    table = resource.compute_table_schema()
    columns: Mapping[str, Mapping[str, Any]] = table.get("columns", {})
    disposition = table.get("write_disposition")
    disposition = disposition.get("disposition") if isinstance(disposition, dict) else disposition
    deleted = [column for column, hints in columns.items() if hints.get("hard_delete")]
    keys = [column for column, hints in columns.items() if hints.get("primary_key")]
    keys = keys or [column for column, hints in columns.items() if hints.get("merge_key")]
    stream = name.rpartition(".")[2]

    def tell(kind: str, **message: Any) -> None:
        told.write(json.dumps({"type": kind, **message}) + "\n")

    tell("SCHEMA", stream=stream, schema={"properties": {}}, key_properties=keys)
    is_incremental = disposition != "replace"
    before = typed.typed_loads(state_file.read_text()) if state_file.exists() else {}
    state: dict[str, Any] = before if is_incremental else {}
    with Container().injectable_context(StateInjectableContext(state=state)):
        for record in records_of(resource):
            if any(record.get(column) for column in deleted):
                record[DELETED] = True
            tell("RECORD", stream=stream, record=record)
    if is_incremental and state.get("sources"):
        tell("STATE", value={"dlt": typed.typed_dumps(state)})


def resource_of(path: str, name: str) -> Any:
    """The resource that is meant: one of the file, or one of a source of the file."""
    from dlt.extract import DltResource, DltSource

    sys.path.insert(0, str(Path(path).parent))
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    outer, _, inner = name.partition(".")
    found = getattr(module, outer, None)
    if found is None:
        _stop(f"there is no {outer} in {Path(path).name}")
    if not isinstance(found, DltResource | DltSource) and callable(found):
        found = found()
    if inner and isinstance(found, DltSource):
        there = found.resources
        if inner not in there:
            _stop(f"{outer} has the resources {', '.join(there)}, no {inner}")
        found = found.with_resources(inner).resources[inner]
    if not isinstance(found, DltResource):
        more = "; name one of its resources behind a dot" if isinstance(found, DltSource) else ""
        _stop(f"{name} is a {type(found).__name__}, no dlt resource{more}")
    return found


def _stop(said: str) -> NoReturn:
    sys.stderr.write(f"{said}\n")
    sys.exit(NO_SUCH_RESOURCE)


def records_of(resource: Any) -> Iterator[dict[str, Any]]:
    """Its items as records of JSON types; a table of Arrow, or a data frame, as its rows."""
    from dlt.common.json import json as typed

    for item in resource:
        if hasattr(item, "to_pylist"):
            rows: Any = item.to_pylist()
        elif hasattr(item, "to_dict") and hasattr(item, "columns"):
            rows = item.to_dict(orient="records")
        else:
            rows = item if isinstance(item, list) else [item]
        for row in rows:
            plain = json.loads(typed.dumps(row))
            yield plain if isinstance(plain, dict) else {"value": plain}


if __name__ == "__main__":
    main(*sys.argv[1:])
