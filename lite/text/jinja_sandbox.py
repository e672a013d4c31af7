"""The sandboxed Jinja environment for chat templates; imports jinja2, so import this lazily.

Filters, functions and options are those of transformers' chat templates.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

# SAFETY: a template, or a conversation made for it, must not hold a worker thread or its memory.
MAX_LOOP_STEPS = 10_000_000
MAX_RENDERED_CHARS = 16 * 2**20
MAX_REPEATED_ITEMS = 2**20
_BUDGET = "<loop steps>"  # not an identifier: out of a template's reach


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja without access to Python's internals, and with bounded loops and output."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag]
        )
        self.filters["tojson"] = _to_json
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Parse as Jinja does, then make every loop body count its steps."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            step = nodes.EnvironmentAttribute("count_loop_step")
            call = nodes.Call(step, [nodes.ContextReference()], [], None, None)
            loop.body.insert(0, nodes.ExprStmt(call, lineno=loop.lineno))
        return tree

    def count_loop_step(self, context: Context) -> None:
        """Take one step from the render's budget."""
        budget: list[int] = context[_BUDGET]
        budget[0] -= 1
        if budget[0] < 0:
            raise SecurityError(f"the template's loops exceed {MAX_LOOP_STEPS} steps")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse repetitions and powers that would fill the memory."""
        if operator == "**" and not (abs(left) <= 2**32 and abs(right) <= 64):
            raise SecurityError("the template raises a number to too large a power")
        if operator == "*":
            for items, count in ((left, right), (right, left)):
                repeats = isinstance(items, str | list | tuple) and isinstance(count, int)
                if repeats and len(items) * count > MAX_REPEATED_ITEMS:
                    raise SecurityError(
                        f"the template repeats a value to more than {MAX_REPEATED_ITEMS} items"
                    )
        return super().call_binop(context, operator, left, right)


def render(template: Template, variables: Mapping[str, Any]) -> str:
    """Render within the limits; raises what the template raises."""
    parts: list[str] = []
    num_chars = 0
    for part in template.generate({**variables, _BUDGET: [MAX_LOOP_STEPS]}):
        num_chars += len(part)
        if num_chars > MAX_RENDERED_CHARS:
            raise SecurityError(f"the rendered prompt exceeds {MAX_RENDERED_CHARS} characters")
        parts.append(part)
    return "".join(parts)


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
