from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lite.scheduling.batch import Batch

class Scheduler:
    num_blocks: int
    block_size: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    enable_prefix_caching: bool
    num_running: int
    num_waiting_tokens: int
    num_preemptions: int
    num_recomputed_tokens: int
    prefix_cache_queries: int
    prefix_cache_hits: int

    def __init__(
        self,
        *,
        num_blocks: int,
        block_size: int,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        max_model_len: int,
        enable_prefix_caching: bool = True,
        hash_bits: int = 64,
    ) -> None: ...
    def add(
        self,
        seq_id: int,
        prompt: npt.NDArray[np.int32] | Sequence[int],
        *,
        max_tokens: int,
        min_tokens: int = 0,
        stop_token_ids: npt.NDArray[np.int32] | Sequence[int] = (),
        salt: bytes = b"",
        read_prefix_cache: bool = True,
    ) -> None: ...
    def abort(self, seq_id: int) -> bool: ...
    def schedule(self, batch: Batch) -> int: ...
    def update(
        self, batch: Batch, sampled_token_ids: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int64]: ...
    def cancel(self, batch: Batch) -> None: ...
    def reset_prefix_cache(self) -> None: ...
    @property
    def num_waiting(self) -> int: ...
    @property
    def num_free_blocks(self) -> int: ...
    @property
    def num_cached_blocks(self) -> int: ...
    def waiting_ids(self) -> list[int]: ...
    def running_ids(self) -> list[int]: ...
    def is_waiting(self, seq_id: int) -> bool: ...
    def token_ids(self, seq_id: int) -> npt.NDArray[np.int32]: ...
    def num_prompt_tokens(self, seq_id: int) -> int: ...
    def num_cached_tokens(self, seq_id: int) -> int: ...
    def num_preemptions_of(self, seq_id: int) -> int: ...
    def check(self) -> None: ...
