"""What is refused or dropped is so by a rule with a name, and a test gives that rule bad input."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
RULE_AT = {"Unreadable": 0, "BadFrontMatter": 0, "quarantined": 1, "drop": 1, "_refused": 2}
"""Which argument of what makes a refusal is its rule, or its reason."""
RULE = re.compile(r"[a-z]+(-[a-z]+)+")


def constants(tree: ast.Module) -> dict[str, str]:
    """The strings that a module has a name for."""
    return {
        target.id: str(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def rules(tree: ast.Module) -> Iterator[str]:
    """The rules that a module names: in a call that refuses, or before the words of a reason."""
    named = constants(tree)

    def said(node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return named.get(node.id, "")
        return str(node.value) if isinstance(node, ast.Constant) else ""

    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            at = RULE_AT.get(node.func.id, len(node.args))
            yield from (said(each) for each in node.args[at : at + 1])
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            yield from (rule for rule in [said(node.elts[0])] if RULE.fullmatch(rule))


def test_every_rule_has_a_test_that_names_it():
    found = {
        rule
        for folder in ("stages", "asset")
        for path in (ROOT / "src" / "tunesmith" / folder).rglob("*.py")
        for rule in rules(ast.parse(path.read_text()))
        if rule
    }
    assert {
        "bad-csv",
        "not-unique",
        "too short",
        "synthetic-unrecorded",
        "transform-error",
    } <= found
    here = Path(__file__)
    tests = [path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != here]
    lacking = {rule for rule in found if not any(f'"{rule}"' in text for text in tests)}
    assert lacking == set()
