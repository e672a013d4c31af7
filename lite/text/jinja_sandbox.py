"""The sandboxed Jinja environment for chat templates; imports jinja2, so import this lazily.

Filters, functions and options are those of transformers' chat templates.
"""

import json
from collections.abc import Iterator, Mapping, Sized
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

# SAFETY: a conversation must not make a template hold a worker thread or its memory for long.
# The template itself is the operator's: these limits do not make it safe to take one from a caller.
MAX_LOOP_STEPS = 10_000_000
MAX_CHARS = 16 * 2**20
_TOO_LONG = f"the template builds a value of more than {MAX_CHARS} characters"
_BUDGET = "<loop steps>"  # not an identifier: out of a template's reach


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja without access to Python's internals, and with bounded loops, strings and output."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _GenerationTag],
            finalize=_bounded,
        )
        self.filters["tojson"] = _to_json
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now

    def _generate(
        self,
        source: nodes.Template,
        name: str | None,
        filename: str | None,
        defer_init: bool = False,
    ) -> str:
        """Compile as Jinja does, with loops and `~` routed through the methods below."""
        for loop in source.find_all(nodes.For):
            loop.iter = _call("count_steps", [nodes.ContextReference(), loop.iter], loop.lineno)
        return super()._generate(_ReplaceConcat().visit(source), name, filename, defer_init)

    def count_steps(self, context: Context, items: Any) -> Any:
        """Return a loop's items after taking their number from the render's budget."""
        if isinstance(items, Iterator):
            items = list(items)
        budget: list[int] = context[_BUDGET]
        budget[0] -= len(items) if isinstance(items, Sized) else 0
        if budget[0] < 0:
            raise SecurityError(f"the template's loops exceed {MAX_LOOP_STEPS} steps")
        return items

    def concatenate(self, *parts: Any) -> str:
        """Do what the operator `~` does."""
        return str(_bounded("".join(map(str, parts))))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse repetitions and powers that would fill the memory."""
        if operator == "**" and not (abs(left) <= 2**32 and abs(right) <= 64):
            raise SecurityError("the template raises a number to too large a power")
        if operator == "*":
            for items, count in ((left, right), (right, left)):
                repeats = isinstance(items, str | list | tuple) and isinstance(count, int)
                if repeats and len(items) * count > MAX_CHARS:
                    raise SecurityError(_TOO_LONG)
        return _bounded(super().call_binop(context, operator, left, right))


def render(template: Template, variables: Mapping[str, Any]) -> str:
    """Render within the limits; raises what the template raises."""
    parts: list[str] = []
    num_chars = 0
    for part in template.generate({**variables, _BUDGET: [MAX_LOOP_STEPS]}):
        num_chars += len(part)
        if num_chars > MAX_CHARS:
            raise SecurityError(f"the rendered prompt exceeds {MAX_CHARS} characters")
        parts.append(part)
    return "".join(parts)


def _bounded(value: Any) -> Any:
    """Return a value that is output or combined, unless it has grown too long."""
    if isinstance(value, str | list | tuple) and len(value) > MAX_CHARS:
        raise SecurityError(_TOO_LONG)
    return value


def _call(method: str, arguments: list[Any], lineno: int) -> nodes.Call:
    """Return the syntax tree of a call to one of the environment's methods."""
    function = nodes.EnvironmentAttribute(method, lineno=lineno)
    return nodes.Call(function, arguments, [], None, None, lineno=lineno)


class _ReplaceConcat(NodeTransformer):
    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:  # noqa: N802 (Jinja's name)
        parts = [self.visit(part) for part in node.nodes]
        return _call("concatenate", parts, node.lineno)


class _GenerationTag(Extension):
    """`{% generation %}...{% endgeneration %}`, which marks training targets: only its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON without the HTML escapes of Jinja's own filter."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)
