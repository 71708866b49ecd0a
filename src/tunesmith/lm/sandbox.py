"""Rendering templates that came with a model, within a budget.

Jinja's own sandbox keeps a template from Python's insides, not from running for ever or filling the
memory. Here every rendering has a budget of work, of which are spent: for each turn of a loop and
each call of a macro what stands in it (expressions, and characters of text), for every operation
the characters and items that it reads and makes, the latter before it makes them. The budget grows
with the template and the conversation, so honest templates never meet its end.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.runtime
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor

from tunesmith.lm.budget import (
    BUDGET,
    Budget,
    budget_of,
    concatenated,
    join,
    made,
    paid,
    replace,
    size,
    to_json,
    turns,
)

MAX_TEMPLATE_CHARS = 100_000
BASE_WORK = 300_000
"""What the shortest template may do with the shortest conversation."""
WORK_PER_MESSAGE = 20
"""How often a template may do, for each message, all that is written in it, and read everything."""
MAX_BITS = 1024
"""Of a whole number."""
MAX_REPEATED = 10_000
"""Characters or items that `*` makes."""
MAX_DATE_CHARS = 100
STR_METHODS = """
    capitalize casefold count endswith find index isalnum isalpha isdigit islower isnumeric
    isspace isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex
    rpartition rsplit rstrip split splitlines startswith strip title upper
"""
METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(STR_METHODS.split()),
    Mapping: frozenset({"copy", "get", "items", "keys", "values"}),
    list: frozenset({"copy", "count", "index"}),
    tuple: frozenset({"count", "index"}),
    int: frozenset(),
    float: frozenset(),
}
"""What may be called of plain values: methods that cannot make much of little, but for `join` and
`replace`, which are measured beforehand."""
FREE_FILTERS = ("count", "d", "default", "first", "last", "length")
"""Filters that read at most one item."""
FILTERS = """
    abs capitalize dictsort e escape float int items list lower map max min reject rejectattr
    reverse round safe select selectattr sort string title trim unique upper wordcount
"""
"""Filters that cannot make much of little; `join`, `replace` and `tojson` are our own."""
COMPARING_TESTS = "!= < <= == > >= eq equalto ge greaterthan gt in le lessthan lt ne"
MADE, TURNS, CONCAT = "the made", "the turns", "the concatenated"
"""Names of ours among the template's; with their blanks no template can write them."""
JINJAS_OWN = ("_loop_vars", "_block_vars")
"""Keywords that Jinja adds to a call and takes off again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A template that is ready to be rendered."""

    template: jinja2.Template
    weight: int
    """Expressions and characters of text in it."""

    def render(self, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
        """The text of the conversation; what it is given consists of plain JSON values.

        Raises:
            jinja2.TemplateError: the template is wrong, or does more than it may; what else can
                go wrong in a program can go wrong in it too.
        """
        each = WORK_PER_MESSAGE * (self.weight + size(messages) + size(variables))
        budget = Budget(BASE_WORK + each * (len(messages) + 1))
        given = {**variables, "messages": messages, "range": budget.range, BUDGET: budget}
        return self.template.render(given)


@functools.lru_cache(maxsize=16)
def compile_template(source: str) -> Program:
    """The program that `source` is.

    Raises:
        jinja2.TemplateError: it is none.
    """
    if len(source) > MAX_TEMPLATE_CHARS:
        raise jinja2.TemplateError(f"with {len(source)} characters it is no template")
    environment = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,  # or constants would be computed before there is a budget
        finalize=made,
        extensions=[_Generation, jinja2.ext.loopcontrols],
    )
    _furnish(environment)
    metering = _Metering()
    tree = metering.visit(environment.parse(source))
    tree.set_environment(environment)
    environment.macro_weight = metering.weight
    template = jinja2.Template.from_code(
        environment, environment.compile(tree), environment.make_globals(None)
    )
    return Program(template=template, weight=metering.weight)


def _furnish(environment: jinja2.Environment) -> None:
    """Leave a template what it may use."""
    stock, tests = environment.filters, environment.tests
    environment.filters = {
        **{name: stock[name] for name in FREE_FILTERS},
        **{name: paid(stock[name]) for name in FILTERS.split()},
        "join": join,
        "replace": replace,
        "tojson": to_json,
        MADE: made,
        TURNS: turns,
        CONCAT: concatenated,
    }
    environment.tests = {
        **tests,
        **{name: paid(tests[name]) for name in COMPARING_TESTS.split()},
    }
    environment.globals = {
        "namespace": _Namespace,
        "dict": dict,
        "raise_exception": _raise,
        "strftime_now": _strftime_now,
    }


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox; operators and calls are paid for."""

    intercepted_binops = frozenset(jinja2.sandbox.SandboxedEnvironment.default_binop_table)
    macro_weight = 0
    """What a call of a macro costs: as much as all of the template, of which it is a part."""

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        """Refuse powers, and what makes huge values."""
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise jinja2.exceptions.SecurityError(f"{operator} is not allowed in a chat template")
        numbers = [item for item in (left, right) if isinstance(item, int)]
        if sum(number.bit_length() for number in numbers) > MAX_BITS:
            raise jinja2.exceptions.SecurityError("a chat template makes too large a number")
        work = size(left) + size(right)
        if operator == "*" and any(isinstance(item, str | list | tuple) for item in (left, right)):
            work *= max([0, *numbers])
            if work > MAX_REPEATED:
                raise jinja2.exceptions.SecurityError("a chat template repeats too much")
        budget_of(context).spend(work)
        return super().call_binop(context, operator, left, right)

    def call(
        __self,  # noqa: N805  # the base class's way to leave every keyword to the template
        __context: jinja2.runtime.Context,
        __obj: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Call `__obj`; what it reads and makes is paid for."""
        purse = budget_of(__context)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        given = [value for key, value in kwargs.items() if key not in JINJAS_OWN]
        purse.spend(size(args) + size(given) + size(owner))
        if isinstance(__obj, jinja2.runtime.Macro | jinja2.runtime.BlockReference):
            purse.spend(__self.macro_weight)
        elif isinstance(owner, str) and name == "join":
            return join(__context, args[0], owner)
        elif isinstance(owner, str) and name == "replace":
            return replace(__context, owner, *args)
        return made(__context, super().call(__context, __obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse also the methods that make much of little."""
        for kind, names in METHODS.items():
            if isinstance(obj, kind) and attr not in names:
                return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Refuse `str.format`, which can be told any width."""
        if super().wrap_str_format(value) is not None:
            raise jinja2.exceptions.SecurityError("format is unsafe in a chat template")


class _Metering(jinja2.visitor.NodeTransformer):
    """Makes a template pay for its loops, its literals and its comparisons; weighs it as it goes.

    Operators, calls, filters and tests need nothing here: the environment sees them.
    """

    def __init__(self) -> None:
        self.weight = 0
        """Of the nodes seen so far."""

    def visit(self, node: jinja2.nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """The node that takes the place of `node`."""
        text = getattr(node, "data", getattr(node, "value", None))
        self.weight += 1 + (len(text) if isinstance(text, str) else 0)
        return super().visit(node, *args, **kwargs)

    def visit_For(self, node: jinja2.nodes.For) -> jinja2.nodes.Node:  # noqa: N802
        """A loop pays for its turns before the first."""
        if node.recursive:
            raise jinja2.TemplateError("recursive loops are not allowed in a chat template")
        before = self.weight
        self.generic_visit(node)
        node.iter = _filtered(node.iter, TURNS, jinja2.nodes.Const(self.weight - before))
        return node

    def visit_Concat(self, node: jinja2.nodes.Concat) -> jinja2.nodes.Node:  # noqa: N802
        """`a ~ b` is measured before it is made."""
        self.generic_visit(node)
        return _filtered(jinja2.nodes.List(node.nodes), CONCAT)

    def visit_Compare(self, node: jinja2.nodes.Compare) -> jinja2.nodes.Node:  # noqa: N802
        """To compare is to read."""
        self.generic_visit(node)
        node.expr = _filtered(node.expr, MADE)
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, MADE)
        return node

    def visit_Getitem(self, node: jinja2.nodes.Getitem) -> jinja2.nodes.Node:  # noqa: N802
        """A slice is a copy."""
        self.generic_visit(node)
        return _filtered(node, MADE) if isinstance(node.arg, jinja2.nodes.Slice) else node

    def visit_List(self, node: jinja2.nodes.List) -> jinja2.nodes.Node:  # noqa: N802
        """What holds a value twice is twice as large when it is written out."""
        self.generic_visit(node)
        return _filtered(node, MADE)

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: jinja2.nodes.Tuple) -> jinja2.nodes.Node:  # noqa: N802
        """As a list; the names that a loop or `set` gives are no value."""
        self.generic_visit(node)
        return _filtered(node, MADE) if node.ctx == "load" else node


def _filtered(node: Any, name: str, *arguments: jinja2.nodes.Expr) -> jinja2.nodes.Filter:
    return jinja2.nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}`, which marks answers: rendered as what is in it."""

    tags = {"generation"}  # noqa: RUF012  # read by jinja2 from the class

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """The nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(jinja2.utils.Namespace):
    """Jinja's, but written out without what it holds: it may hold itself."""

    def __repr__(self) -> str:
        return "<Namespace>"


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    """A fixed day: the date in a prompt would make two equal runs differ."""
    if len(form) > MAX_DATE_CHARS:
        raise jinja2.exceptions.SecurityError("a chat template writes too long a date")
    return datetime.date(2024, 1, 1).strftime(form)
