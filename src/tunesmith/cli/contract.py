"""The contract of a source or a transform: what it asks, in other forms, and whether it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, out, table, wrapped

if TYPE_CHECKING:
    from tunesmith.asset.contract import FieldRule
    from tunesmith.records.contract import ContractResult
    from tunesmith.stages.ingest.config import SourceConfig
    from tunesmith.stages.transform.config import TransformConfig


def add_to(data: typer.Typer) -> None:
    """Add this file's command to those of data."""
    data.command("contract")(data_contract)


def data_contract(
    name: Annotated[str, typer.Argument(help="Name of a source or a transform.")] = "",
    as_odcs: Annotated[
        bool, typer.Option("--odcs", help="Print it as a file of the Open Data Contract Standard.")
    ] = False,
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Print it as DuckDB's SQL over a table `records`.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Check what is in the store; exit code 1 if it fails.")
    ] = False,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Say what the contract of a source or transform asks, write it in other forms, or check it."""
    from tunesmith.cli.opening import opened
    from tunesmith.cli.service import only
    from tunesmith.core.errors import UsageError
    from tunesmith.lineage.repair import judged
    from tunesmith.stages.ingest.config import SourceConfig
    from tunesmith.stages.ingest.odcs import write

    if as_odcs + as_sql + check > 1:
        raise UsageError("--odcs, --sql and --check are one at a time", remedy="leave two out")
    with opened(folder) as (project, _):
        configs: dict[str, SourceConfig | TransformConfig] = {
            **project.file.source,
            **project.file.transform,
        }
        name = only(configs, name, "source or transform")
        config = configs[name]
        found = judged(project, name) if check else None
    if found is not None:
        out(found, _checked(found), as_json)
        if not found.holds:
            raise typer.Exit(1)
    elif as_odcs:
        if not isinstance(config, SourceConfig):
            raise UsageError(
                f"{name} is a transform, and the standard's files are read of sources alone",
                remedy="see it with `--json`, or take --sql",
            )
        text = write(config)
        out({"source": name, "odcs": text}, text.rstrip("\n").split("\n"), as_json)
    elif as_sql:
        text = _sql(config)
        out({"source": name, "sql": text}, text.split("\n"), as_json)
    else:
        out(
            {"source": name, "contract": config.contract, "checks": config.checks},
            _asked(config),
            as_json,
        )


def _sql(config: SourceConfig | TransformConfig) -> str:
    from tunesmith.asset.checks import rows_sql
    from tunesmith.asset.contract_sql import compile_contract
    from tunesmith.stages.ingest.config import STRINGS_ONLY, SourceConfig

    only_strings = isinstance(config, SourceConfig) and config.format in STRINGS_ONLY
    parts = [
        "-- the first rule that each record breaks; records(place, pointer, fields as JSON)",
        compile_contract(
            config.contract,
            allows_others=config.other_fields == "keep",
            has_strings_only=only_strings,
        )
        + ";",
    ]
    if config.checks:
        view = rows_sql(config.checks, config.contract, only_strings)
        parts += [
            "-- what has to hold of all rows; accepted(attributes), attributes is JSON",
            f"CREATE OR REPLACE TEMP VIEW rows AS {view};",
            *(
                f"SELECT value, {each.holds_sql()} AS holds FROM ({each.value_sql()});"  # noqa: S608
                for each in config.checks
            ),
        ]
    return "\n".join(parts)


def _asked(config: SourceConfig | TransformConfig) -> list[str]:
    rows = [[name, rule.type, _more(rule)] for name, rule in config.contract.items()]
    lines = table(rows, ["field", "type", "rules"]) if rows else ["it asks nothing of a field"]
    for each in config.checks:
        warns = " (a warning)" if each.severity == "warning" else ""
        name = f"{each.name}: " if each.name else ""
        lines += wrapped(f"all rows: {name}{each.what()} has {each.wanted()}{warns}")
    return lines


def _more(rule: FieldRule) -> str:
    given = rule.model_dump(exclude_defaults=True, exclude={"type", "required"})
    said = ["required" if rule.required else "may be missing"]
    for key, value in given.items():
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
        said.append("unique" if key == "unique" else f"{key} {shown}")
    return "; ".join(said)


def _checked(found: ContractResult) -> list[str]:
    broken = ", ".join(f"{rule} {count}" for rule, count in found.broken.items())
    lines = [
        f"{found.source}: {found.num_rows} rows break no rule, "
        f"{sum(found.broken.values())} do{f' ({broken})' if broken else ''}"
    ]
    for each in found.checks:
        state = "holds" if each.holds else "warning" if each.severity == "warning" else "fails"
        lines += wrapped(f"{state}: {each.said()}")
    return [*lines, "the contract is kept" if found.holds else "the contract is not kept"]
