"""Chat messages made ready for a template: content parts, tool-call arguments, roles."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lite.errors import InvalidRequestError, UnsupportedParameterError

# "string": content is a string; "openai": lists of parts are left to the template;
# "parts": the template understands nothing but lists.
ContentFormat = Literal["string", "openai", "parts"]

_TEXT_KEYS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_UNSUPPORTED_PARTS = frozenset(
    {
        "image",
        "image_url",
        "image_embeds",
        "image_pil",
        "input_image",
        "audio",
        "audio_url",
        "audio_embeds",
        "input_audio",
        "video",
        "video_url",
        "file",
        "input_file",
    }
)


def prepare_messages(
    messages: Sequence[Mapping[str, Any]],
    content_format: ContentFormat,
    *,
    knows_developer_role: bool = False,
) -> list[dict[str, Any]]:
    """Return copies of `messages` in the shape that templates expect, as vLLM does.

    Text parts are joined by newlines unless the template reads lists, missing content becomes
    "", tool-call arguments become objects, and the role "developer" becomes "system" for
    templates that do not know it. Other fields pass through.

    Raises:
        UnsupportedParameterError: a content part is not text.
        InvalidRequestError: a message is malformed; `param` says where.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise InvalidRequestError(
            f"messages must be a list of messages, got {type(messages).__name__}.",
            param="messages",
        )
    if not messages:
        raise InvalidRequestError("messages must hold at least one message.", param="messages")
    prepared = []
    for i, message in enumerate(messages):
        path = f"messages[{i}]"
        if not isinstance(message, Mapping):
            raise InvalidRequestError(f"{path} must be an object.", param=path)
        role = message.get("role")
        if not isinstance(role, str) or not role:
            raise InvalidRequestError(
                f"{path}.role must be a non-empty string, got {role!r}.",
                param=f"{path}.role",
                code="invalid_value" if "role" in message else "missing_required_parameter",
            )
        copy = dict(message)
        if role == "developer" and not knows_developer_role:
            copy["role"] = "system"
        copy["content"] = _content(message.get("content"), content_format, f"{path}.content")
        if message.get("tool_calls"):
            copy["tool_calls"] = _tool_calls(message["tool_calls"], f"{path}.tool_calls")
        else:
            copy.pop("tool_calls", None)  # templates test for the key, clients send null
        prepared.append(copy)
    return prepared


def _content(content: Any, content_format: ContentFormat, path: str) -> Any:
    if content is None:
        content = ""
    if isinstance(content, str):
        as_parts = content_format == "parts"
        return [{"type": "text", "text": content}] if as_parts else content
    if not isinstance(content, list | tuple):
        raise InvalidRequestError(
            f"{path} must be a string or a list of parts, got {type(content).__name__}.",
            param=path,
        )
    texts = [_part_text(part, f"{path}[{j}]") for j, part in enumerate(content)]
    if content_format == "string":
        return "\n".join(texts)
    return [{"type": "text", "text": text} for text in texts]


def _part_text(part: Any, path: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str):
        kind = repr(kind)
    if kind in _UNSUPPORTED_PARTS:
        raise UnsupportedParameterError(
            f"{path} has type {kind!r}: this model reads text only; send parts of type 'text'.",
            param=path,
        )
    key = _TEXT_KEYS.get(kind)
    if key is None:
        raise InvalidRequestError(
            f"{path} must be a part of type 'text', got {kind!r}.", param=f"{path}.type"
        )
    text = part.get(key)
    if not isinstance(text, str):
        raise InvalidRequestError(f"{path}.{key} must be a string.", param=f"{path}.{key}")
    return text


def _tool_calls(tool_calls: Any, path: str) -> list[dict[str, Any]]:
    if not isinstance(tool_calls, list | tuple):
        raise InvalidRequestError(f"{path} must be a list.", param=path)
    prepared = []
    for j, call in enumerate(tool_calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise InvalidRequestError(
                f"{path}[{j}].function must be an object.", param=f"{path}[{j}].function"
            )
        where = f"{path}[{j}].function.arguments"
        arguments = _arguments(function.get("arguments"), where)
        prepared.append({**call, "function": {**function, "arguments": arguments}})
    return prepared


def _arguments(arguments: Any, path: str) -> dict[str, Any]:
    """Return tool-call arguments as an object; templates write them with `tojson`."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"{path} is not valid JSON: {error}.", param=path) from error
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise InvalidRequestError(f"{path} must be a JSON object.", param=path)
    return dict(arguments)
