"""POST /tokenize and /detokenize, with vLLM's shapes."""

import falcon
import msgspec
from msgspec import UNSET

from server.body import read_json
from server.errors import invalid
from server.generation import check_model
from server.schemas import parse_detokenize, parse_tokenize
from server.services import Services


class TokenizeResponse(msgspec.Struct, frozen=True):
    """Body of an answer to /tokenize."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeResponse(msgspec.Struct, frozen=True):
    """Body of an answer to /detokenize."""

    prompt: str


class Tokenize:
    """Turns a prompt or a chat into token ids."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        max_bytes = self._services.config.server.max_body_bytes
        request, messages = parse_tokenize(read_json(req, max_bytes=max_bytes))
        generator = self._services.generator
        check_model(request.model, generator)
        if messages is None:
            assert request.prompt is not UNSET
            tokens = generator.encode(
                request.prompt, add_special_tokens=request.add_special_tokens is not False
            )
        else:
            continue_final = bool(request.continue_final_message)
            if continue_final and request.add_generation_prompt:
                raise invalid(
                    "continue_final_message excludes add_generation_prompt; set one of them.",
                    param="continue_final_message",
                )
            tokens = generator.chat_prompt(
                messages,
                add_generation_prompt=not continue_final
                and request.add_generation_prompt is not False,
                continue_final_message=continue_final,
                chat_template_kwargs=request.chat_template_kwargs,
                add_special_tokens=bool(request.add_special_tokens),
            )
        strings = None
        if request.return_token_strs:
            strings = [generator.tokenizer.decode([token], False) for token in tokens]
        resp.data = msgspec.json.encode(
            TokenizeResponse(len(tokens), generator.max_model_len, tokens, strings)
        )


class Detokenize:
    """Turns token ids into text, special tokens included."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        max_bytes = self._services.config.server.max_body_bytes
        request = parse_detokenize(read_json(req, max_bytes=max_bytes))
        generator = self._services.generator
        check_model(request.model, generator)
        text = generator.tokenizer.decode(request.tokens, skip_special_tokens=False)
        resp.data = msgspec.json.encode(DetokenizeResponse(text))
