"""Export a tuned model: files for other software, in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, percent, size, table, wrapped
from tunesmith.cli.render import out as print_result
from tunesmith.core.errors import UsageError
from tunesmith.core.new_folder import new_folder, require_free
from tunesmith.records.export import Format, Quantisation

if TYPE_CHECKING:
    from tunesmith.core.blobs import Blobs
    from tunesmith.core.ref import Blob
    from tunesmith.records.export import Export, Parity
    from tunesmith.registry.choice import Chosen
    from tunesmith.stages.export.config import ExportConfig

ToGive = Annotated[
    str,
    typer.Argument(
        help="A model version: NAME@NUMBER or NAME@ALIAS; of NAME alone the one in production, "
        "else that of the gate's alias, else the newest, and none that is retired."
    ),
]
README = "README.md"
"""What hubs show of a folder."""


def model_export(
    version: ToGive,
    out: Annotated[Path, typer.Option(help="Folder to write to; a new or an empty one.")],
    folder: Folder = HERE,
    format: Annotated[
        Format,
        typer.Option(
            help="For which software; of models that read states adapter, merged or onnx."
        ),
    ] = "gguf",
    quantisation: Annotated[
        Quantisation | None,
        typer.Option(help="Of a GGUF file; q8_0 if not given.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model version for other software, if it is shown to be the same model there.

    Its model card, as of now, is in the folder as README.md.
    """
    from tunesmith import pipeline
    from tunesmith.cli.opening import opened
    from tunesmith.core.canonical import sha256
    from tunesmith.documents.compile import card_of_export, put_on_record
    from tunesmith.registry.choice import choose
    from tunesmith.registry.leaving import export_leaves
    from tunesmith.registry.signing import signature_of_export
    from tunesmith.signing.model_files import SIGNATURE

    config = _config(format, quantisation)
    require_free(out, "--out")
    with opened(folder, runs=True) as (project, _):
        chosen = choose(project, version)
        made = pipeline.export(project, chosen, config)
        card = card_of_export(project, chosen.name, made)
        texts = {README: card.text}
        digests = {path: blob.sha256 for path, blob in made.files.items()}
        digests |= {path: sha256(text.encode()) for path, text in texts.items()}
        if signature := signature_of_export(project, made.name, digests):
            texts[SIGNATURE] = signature
        export_leaves(project, chosen, made, out)
        put_on_record(project, card, README)
        save(made.files, project.runner.blobs, out, texts)
    value = {
        "version": chosen.name,
        "why": chosen.why,
        "warnings": chosen.warnings,
        "export": made,
        "folder": str(out),
        "signed": bool(signature),
        "card": digests[README],
    }
    signed = [f"signed: {SIGNATURE}"] if signature else []
    warned = [part for each in chosen.warnings for part in wrapped(f"warning: {each}")]
    print_result(value, [*warned, *_lines(chosen, made, out), *signed], as_json)


def save(files: Mapping[str, Blob], blobs: Blobs, folder: Path, texts: Mapping[str, str]) -> None:
    """Copy `files` to `folder`, and write `texts` beside them, all of them or none.

    Raises:
        Conflict: `folder` is there and is not an empty folder.
    """
    from tunesmith.signing.opened import copy_checked

    with new_folder(folder, "--out") as temporary:
        for name, blob in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)  # some lie in a folder of their own
            copy_checked(blobs, blob, temporary / name)
        for name, text in texts.items():
            (temporary / name).write_bytes(text.encode())


def _config(format: Format, quantisation: Quantisation | None) -> ExportConfig:
    import pydantic

    from tunesmith.stages.export.config import ExportConfig

    chosen = quantisation or ("q8_0" if format == "gguf" else "f32")
    try:
        return ExportConfig(format=format, quantisation=chosen)
    except pydantic.ValidationError as error:
        raise UsageError(
            error.errors()[0]["msg"].removeprefix("Value error, "),
            remedy="leave out --quantisation, or use --format gguf",
        ) from error


def _lines(chosen: Chosen, made: Export, folder: Path) -> list[str]:
    rows = [[name, size(blob.num_bytes), blob.sha256[:12]] for name, blob in made.files.items()]
    return [
        *wrapped(
            f"{chosen.name} ({chosen.why}) as {made.format} ({made.quantisation}) in {folder}"
        ),
        "",
        *table(rows, ["file", "size", "digest"]),
        f"{README}: its model card, as of now",
        "",
        *_proof(made.parity),
    ]


def _proof(parity: Parity) -> list[str]:
    if parity.required_difference:  # it reads states
        return [
            f"the same model: over {parity.num_prompts} held-out rows, alone and padded, its "
            f"numbers differ by up to {parity.max_difference:.1e} of the largest",
            f"(allowed {parity.required_difference:.0e}), and {percent(parity.same_answers)} of "
            "the classes or orders are equal",
        ]
    return [
        f"the same model: over {parity.num_prompts} held-out prompts the mean KL is "
        f"{parity.mean_kl:.1e} nats a token (allowed {parity.required_kl:.0e}),",
        f"{percent(parity.same_answers)} of the greedy answers are equal, and it stops where an "
        "answer ends",
    ]
