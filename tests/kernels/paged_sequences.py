"""Sequences of random queries, keys and values over a paged cache, for any kernels."""

import numpy as np

from lite_kernels.dtypes import from_bfloat16


class PagedSequences:
    """Runs chunks of sequences through the store and attention of one set of kernels.

    Contents depend on `seed`, the place of the blocks on `layout`; positions are not rotated.
    """

    def __init__(
        self,
        kernels,
        lengths,
        *,
        num_heads,
        num_kv_heads,
        head_dim,
        block_size=16,
        layout=0,
        seed=0,
        quantization=None,
    ):
        self.kernels = kernels
        self.shape = (num_heads, num_kv_heads, head_dim)
        self.block_size = block_size
        width = (num_heads + 2 * num_kv_heads) * head_dim
        self.qkv = [
            np.random.default_rng((seed, s)).standard_normal((n, width), np.float32) * 2
            for s, n in enumerate(lengths)
        ]
        counts = [-(-n // block_size) for n in lengths]
        num_blocks = sum(counts) + 3
        blocks = np.random.default_rng(layout).permutation(num_blocks).astype(np.int32)
        self.tables = np.full((len(lengths), max(counts)), -1, np.int32)
        for s, count in enumerate(counts):
            self.tables[s, :count], blocks = blocks[:count], blocks[count:]
        (self.kv,) = kernels.allocate_kv_cache(
            num_layers=1,
            num_blocks=num_blocks,
            block_size=block_size,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            quantization=quantization,
        )
        self.num_slots = num_blocks * block_size

    def fill_cache(self, value):
        """Leave `value` in every slot, as earlier sequences would have."""
        width = self.qkv[0].shape[1]
        for first in range(0, self.num_slots, 64):
            slots = np.arange(first, min(first + 64, self.num_slots), dtype=np.int32)
            self.store(np.full((len(slots), width), value, np.float32), slots)

    def store(self, qkv, slots):
        num_heads, _, head_dim = self.shape
        unrotated = np.zeros((len(slots), head_dim), np.float32)
        unrotated[:, : head_dim // 2] = 1.0
        q = self.kernels.empty((len(slots), num_heads, head_dim), "act")
        self.kernels.qk_norm_rope_store(qkv, None, None, 1e-6, unrotated, slots, self.kv, q)
        return q

    def step(self, chunks, *, window=0):
        """Compute chunks (sequence, first position, end); return one act array for each."""
        num_heads, _, head_dim = self.shape
        slots = [
            self.tables[s, np.arange(first, end) // self.block_size] * self.block_size
            + np.arange(first, end) % self.block_size
            for s, first, end in chunks
        ]
        qkv = np.concatenate([self.qkv[s][first:end] for s, first, end in chunks])
        q = self.store(qkv, np.concatenate(slots).astype(np.int32))
        loc = np.cumsum([0] + [end - first for _, first, end in chunks], dtype=np.int32)
        out = self.kernels.empty((len(qkv), num_heads * head_dim), "act")
        tables = np.ascontiguousarray(self.tables[[s for s, _, _ in chunks]])
        seq_lens = np.array([end for _, _, end in chunks], np.int32)
        self.kernels.attention(q, self.kv, tables, seq_lens, loc, window, out)
        return np.split(out, loc[1:-1])

    def whole(self, *, window=0):
        """Compute every sequence in one step."""
        return self.step([(s, 0, len(x)) for s, x in enumerate(self.qkv)], window=window)

    def values(self, act):
        return from_bfloat16(act) if act.dtype == np.uint16 else act
