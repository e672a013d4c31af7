"""What the generator's parts make, and how it becomes text."""

from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Messages as an OpenAI client sends them, the assistant's answers included.

    An assistant's message may hold `reasoning_content` (with `enable_thinking`) and `tool_calls`
    in OpenAI's shape, their `arguments` a dict. A tool's result has the role "tool".
    """

    messages: list[Message]
    tools: list[dict[str, Any]] = field(default_factory=list)
    enable_thinking: bool = False


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


def system(text: str) -> Message:
    return {"role": "system", "content": text}
