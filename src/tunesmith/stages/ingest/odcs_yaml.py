"""YAML of which each key is there once and nothing refers to anything: what stands there is all
that there is."""

from __future__ import annotations

from typing import Any

import yaml

from tunesmith.core.errors import DataError

MAX_BYTES = 1 << 20


def parse(data: bytes) -> Any:
    """The value of a YAML text.

    Raises:
        DataError: it is none, is larger than `MAX_BYTES`, has a key twice, or has anchors.
    """
    if len(data) > MAX_BYTES:
        raise DataError(f"it has more than {MAX_BYTES} bytes", remedy="say it in less")
    try:
        loader = _Loader(data.decode("utf-8-sig"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        what = " ".join(str(error).split())[:300]
        raise DataError(f"it is no YAML that is read here: {what}", remedy="mend it") from error


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, *NAME, where what it means has to stand")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        made = super().construct_mapping(node, deep=deep)
        if len(made) < len(node.value):
            raise yaml.YAMLError(f"a key that is there twice: {node.start_mark}")
        return made
