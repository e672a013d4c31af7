"""What the routes need, and what they ask of the floor below as protocols that tests can fake."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lite.config import Config
from lite.messages import EngineStats, HttpObservation
from lite.outputs import OutputDelta
from lite.sampling_params import SamplingParams
from lite.text.tokenizer import Tokenizer
from server.auth import KeyRing
from server.lifecycle import Lifecycle
from server.rate_limit import QuotaKeeper, RateLimiter


class TextGenerator(Protocol):
    """Text in, text deltas out; safe to use from several threads. See `lite.generator`."""

    @property
    def model_name(self) -> str: ...
    @property
    def max_model_len(self) -> int: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def default_sampling(self) -> Mapping[str, Any]: ...

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> list[int]: ...

    def encode(self, text: str, *, add_special_tokens: bool = ...) -> list[int]: ...

    def prepare(
        self,
        prompt_token_ids: list[int],
        params: SamplingParams,
        *,
        request_id: str,
        salt: bytes = ...,
        param: str = ...,
        is_chat: bool = ...,
    ) -> Any: ...

    def stream_batches(
        self, prepared: Any, *, heartbeat_s: float | None = ...
    ) -> Iterator[list[OutputDelta]]: ...


class EngineControl(QuotaKeeper, Protocol):
    """The engine process, apart from generating."""

    def stats(self) -> EngineStats: ...

    def metrics(self) -> str: ...

    def observe(self, observation: HttpObservation) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the routes share.

    Attributes:
        fingerprint: `system_fingerprint` of every answer.
        stop_server: begins the shutdown of the whole server.
        started_at: Unix time, for the models list.
    """

    config: Config
    engine: EngineControl
    generator: TextGenerator
    keys: KeyRing
    limiter: RateLimiter
    lifecycle: Lifecycle
    fingerprint: str
    stop_server: Callable[[], None]
    started_at: int
