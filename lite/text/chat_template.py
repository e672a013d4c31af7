"""Chat templates: messages to the prompt that the model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lite.errors import CheckpointError, InvalidRequestError
from lite.text.messages_format import ContentFormat, prepare_messages
from lite.text.tokenizer import JsonTokenizer, Tokenizer, with_one_bos

if TYPE_CHECKING:
    from jinja2 import Template, nodes

# Written after the last message's text to find where it ends in the rendered prompt.
_END_OF_FINAL_MESSAGE = "<|the final message ends here|>"


class ChatTemplate:
    """The chat template of a checkpoint, compiled; safe to use from several threads.

    Args:
        sources: template name -> Jinja source. "default" is used, and "tool_use" if there is one
            and the request has tools. Without any, `render` refuses.
        named_tokens: variables such as `bos_token`; one that the tokenizer lacks is undefined.
        origin: the file the templates came from, for messages.

    Raises:
        CheckpointError: a template is not valid Jinja; names the file and the line.
    """

    def __init__(
        self, sources: Mapping[str, str], named_tokens: Mapping[str, str], origin: str
    ) -> None:
        self._origin = origin
        self._named_tokens = dict(named_tokens)
        self._templates = {
            name: _CompiledTemplate(source, name, origin) for name, source in sources.items()
        }

    def __bool__(self) -> bool:
        """Return whether there is a template."""
        return bool(self._templates)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the prompt of a conversation; `messages` are left as they are.

        `add_generation_prompt` opens the assistant's turn; `continue_final_message` ends the
        prompt where the last message ends, so that the model goes on with it.
        `chat_template_kwargs` are further variables, such as `enable_thinking`.

        Raises:
            InvalidRequestError: no template, malformed messages or tools, or the template refused
                them.
            UnsupportedParameterError: a content part is not text.
        """
        if continue_final_message and add_generation_prompt:
            raise InvalidRequestError(
                "continue_final_message goes on with the last message and add_generation_prompt "
                "begins a new one: set one of them to false.",
                param="continue_final_message",
            )
        _check_tools(tools)
        template = self._choose(with_tools=bool(tools))
        prepared = prepare_messages(
            messages,
            template.content_format,
            knows_developer_role="developer" in template.source,
        )
        if continue_final_message:
            _mark_end(prepared[-1])
        variables = {
            **self._named_tokens,
            "messages": prepared,
            "tools": list(tools) if tools else None,
            "documents": list(documents) if documents else None,
            "add_generation_prompt": add_generation_prompt,
        }
        for name in chat_template_kwargs or {}:
            if name in variables:
                raise InvalidRequestError(
                    f"chat_template_kwargs.{name} cannot replace the template's own {name}: "
                    "use the request's field.",
                    param=f"chat_template_kwargs.{name}",
                )
        prompt = template.render({**(chat_template_kwargs or {}), **variables})
        return _cut_at_mark(prompt) if continue_final_message else prompt

    def _choose(self, *, with_tools: bool) -> _CompiledTemplate:
        template = self._templates.get("default")
        if with_tools or template is None:
            template = self._templates.get("tool_use", template)
        if template is None:
            named = f" but only the templates {sorted(self._templates)}" if self else ""
            raise InvalidRequestError(
                f"This model has no chat template ({self._origin} holds none{named}): start the "
                "server with --chat-template FILE, or use /v1/completions.",
                param="messages",
                code="chat_template_missing",
            )
        return template


def load_chat_template(
    tokenizer: JsonTokenizer, override: str | Path | None = None
) -> ChatTemplate:
    """Return the checkpoint's chat template, or the one in the file `override`.

    Raises:
        CheckpointError: the file cannot be read or a template is not valid Jinja.
    """
    config = tokenizer.config
    if override is None:
        return ChatTemplate(config.chat_templates, config.named_tokens, config.chat_template_source)
    try:
        source = Path(override).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"--chat-template {override}: cannot be read ({error}); name a Jinja file."
        ) from error
    return ChatTemplate({"default": source}, config.named_tokens, str(override))


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Return the token ids of a rendered conversation, with exactly one BOS if the model wants one.

    Templates differ in whether they write BOS; here it makes no difference.
    """
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    if tokenizer.bos_token_id is None:
        return ids
    return with_one_bos(ids, tokenizer.bos_token_id, wanted=tokenizer.wants_bos)


def render_and_encode(
    tokenizer: Tokenizer,
    template: ChatTemplate,
    messages: Sequence[Mapping[str, Any]],
    **options: Any,
) -> tuple[str, list[int]]:
    """Return (prompt, token ids) of a conversation; `options` are those of `render`."""
    prompt = template.render(messages, **options)
    return prompt, encode_prompt(tokenizer, prompt)


class _CompiledTemplate:
    """One template, and what was learned from its source."""

    def __init__(self, source: str, name: str, origin: str) -> None:
        from jinja2 import TemplateSyntaxError

        from lite.text.jinja_sandbox import TemplateEnvironment

        self.source = source
        environment = TemplateEnvironment()
        try:
            self.content_format = detect_content_format(environment.parse(source))
            self._template: Template = environment.from_string(source)
        except (TemplateSyntaxError, RecursionError) as error:
            line = f" line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
            raise CheckpointError(
                f"{origin}: chat template {name!r} is not valid Jinja:{line}: {error}. "
                "Correct it, or give another one with --chat-template."
            ) from error

    def render(self, variables: Mapping[str, Any]) -> str:
        from jinja2 import TemplateError

        from lite.text.jinja_sandbox import render

        try:
            return render(self._template, variables)
        except TemplateError as error:
            reason = str(error) or type(error).__name__
        # NOTE: a template is a program fed with the caller's values, so any error may come out.
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        raise InvalidRequestError(
            f"The chat template cannot render these messages: {reason}", param="messages"
        )


def detect_content_format(tree: nodes.Template) -> ContentFormat:
    """Return what a parsed template does with `message.content`.

    A template that loops over it reads lists of parts, and one that never asks whether it is a
    string reads nothing else. Loops are recognised over `X.content`, `X["content"]`, a variable
    called `content` (such as a macro's parameter) or one set from those.
    """
    from jinja2 import nodes

    def is_content(node: nodes.Node | None) -> bool:
        if isinstance(node, nodes.Filter):
            return is_content(node.node)
        if isinstance(node, nodes.Getattr):
            return node.attr == "content"
        if isinstance(node, nodes.Getitem):
            if isinstance(node.arg, nodes.Slice):
                return is_content(node.node)
            return isinstance(node.arg, nodes.Const) and node.arg.value == "content"
        return isinstance(node, nodes.Name) and node.name in aliases

    aliases = {"content"}
    for assignment in tree.find_all(nodes.Assign):
        if isinstance(assignment.target, nodes.Name) and is_content(assignment.node):
            aliases.add(assignment.target.name)
    if not any(is_content(loop.iter) for loop in tree.find_all(nodes.For)):
        return "string"
    asks = any(test.name == "string" for test in tree.find_all(nodes.Test))
    return "openai" if asks else "parts"


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    if isinstance(tools, str) or not isinstance(tools, Sequence):
        raise InvalidRequestError(
            f"tools must be a list of objects, got {type(tools).__name__}.", param="tools"
        )
    for i, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise InvalidRequestError(
                f"tools[{i}] must be an object, got {type(tool).__name__}.", param=f"tools[{i}]"
            )


def _mark_end(message: dict[str, Any]) -> None:
    content = message["content"]
    if isinstance(content, str):
        message["content"] = content + _END_OF_FINAL_MESSAGE
    elif content:
        content[-1]["text"] += _END_OF_FINAL_MESSAGE
    else:
        message["content"] = [{"type": "text", "text": _END_OF_FINAL_MESSAGE}]


def _cut_at_mark(prompt: str) -> str:
    end = prompt.rfind(_END_OF_FINAL_MESSAGE)
    if end < 0:
        raise InvalidRequestError(
            "The chat template does not write the last message's content, so it cannot be "
            "continued: set continue_final_message to false.",
            param="continue_final_message",
        )
    return prompt[:end]
