"""From the project file to the steps that make data assets of packages, files and other systems.

package, files, answers -> data asset -> data asset made from others
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.core.errors import ConfigError
from tunesmith.core.section import Section
from tunesmith.core.step import Step, ordered
from tunesmith.project_file import ProjectFile
from tunesmith.stages.ingest.asking import FetchConfig
from tunesmith.stages.ingest.config import BaseConfig, SourceConfig
from tunesmith.stages.ingest.describing import LicenceConfig


def step(name: str, kind: str, config: Section, seed: int = 0, /, **inputs: Any) -> Step:
    """A step of a kind with its settings and what it is given; its settings may need a seed."""
    return Step(name=name, kind=kind, config=config, inputs=inputs, seed=seed)


def packages(file: ProjectFile) -> dict[str, Step]:
    """One fetching step a package, however many sections take from it."""
    pins: dict[str, str] = {}
    sections: dict[str, SourceConfig | BaseConfig] = {
        **{f"source.{name}": each for name, each in file.source.items() if each.is_package},
        **{f"base.{name}": base for name, base in file.base.items()},
    }
    for key, section in sections.items():
        known = pins.get(section.origin, "")
        if known and section.sha256 and known != section.sha256:
            raise ConfigError(f"{key}.sha256", f"another section pins {section.origin} to {known}")
        pins[section.origin] = known or section.sha256
    return {
        origin: step(
            f"fetch:{origin.removeprefix('pypi:')}",
            "fetch@1",
            FetchConfig(origin=origin, sha256=sha256),
        )
        for origin, sha256 in pins.items()
    }


def data_assets(file: ProjectFile, fetch: Mapping[str, Step]) -> dict[str, Step]:
    """The step of every data asset: of the sources, and of what is made from them. A synthetic
    source is given those whose rows it was made from."""
    made: dict[str, Step] = {}

    def step_of(name: str) -> Step:
        if name in made:
            return made[name]
        given: dict[str, Any]
        if config := file.transform.get(name):
            given = {**config.given(), "sources": tuple(map(step_of, config.sources))}
            made[name] = step(f"transform:{name}", "transform@1", config, **given)
        else:
            source = file.source[name].to_read()
            of = source.synthetic.of if source.synthetic else ()
            given = {"seeds": tuple(map(step_of, of))} if of else {}
            given |= {"repairs": source.repairs} if source.repairs else {}
            landed = _landed(name, source, fetch)
            made[name] = step(f"ingest:{name}", "ingest@1", source, package=landed, **given)
        return made[name]

    return {name: step_of(name) for name in file.assets}


def _landed(name: str, source: SourceConfig, fetch: Mapping[str, Step]) -> Step:
    """The step that takes into the store what a source is read from."""
    if source.is_package:
        return fetch[source.origin]
    verb = source.verb
    if source.erased:
        return step(f"{verb}:{name}", f"{verb}-without@1", source, erased=source.erased)
    return step(f"{verb}:{name}", f"{verb}@1", source.taking())


def licences_of(*assets: Step) -> tuple[Step, ...]:
    """The steps that look at the licences of all that `assets` are read from, if it has files."""
    read = (each for each in ordered(*assets) if each.kind == "ingest@1")
    return tuple(
        step(
            f"licence:{source.name}",
            "licence@1",
            LicenceConfig(name=source.name, licence=source.licence),
            package=each.inputs["package"],
        )
        for each in read
        if isinstance(source := each.config, SourceConfig)
        if source.is_objects or not source.is_asked
    )
