from collections.abc import Sequence as _Sequence

import numpy as np
import numpy.typing as npt

def checked_int(name: str, value: int, low: int, high: int = ...) -> int: ...

class Sequence:
    seq_id: int
    num_tokens: int
    num_prompt_tokens: int
    num_computed_tokens: int
    num_cached_tokens: int
    num_preemptions: int
    max_num_tokens: int
    last_token: int
    salt: bytes
    read_prefix_cache: bool

    def __init__(
        self,
        seq_id: int,
        prompt: npt.NDArray[np.int32] | _Sequence[int],
        *,
        block_size: int,
        max_tokens: int,
        min_tokens: int = 0,
        stop_token_ids: npt.NDArray[np.int32] | _Sequence[int] = (),
        salt: bytes = b"",
        read_prefix_cache: bool = True,
    ) -> None: ...
    @property
    def token_ids(self) -> npt.NDArray[np.int32]: ...
