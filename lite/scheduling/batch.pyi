import numpy as np
import numpy.typing as npt

class Batch:
    max_num_seqs: int
    max_num_batched_tokens: int
    max_blocks_per_seq: int
    num_seqs: int
    num_tokens: int
    num_sampled: int
    token_ids: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int32]
    slot_mapping: npt.NDArray[np.int32]
    query_start_loc: npt.NDArray[np.int32]
    seq_lens: npt.NDArray[np.int32]
    block_tables: npt.NDArray[np.int32]
    seq_ids: npt.NDArray[np.int64]
    num_computed_before: npt.NDArray[np.int32]
    logits_rows: npt.NDArray[np.int32]
    sampled_seqs: npt.NDArray[np.int32]

    def __init__(
        self, *, max_num_seqs: int, max_num_batched_tokens: int, max_blocks_per_seq: int
    ) -> None: ...
