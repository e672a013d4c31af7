"""The paged keys and values of a layer, in tiles of 16 tokens of one head.

A tile holds its keys, then its values. bfloat16: keys [D/2][16][2], values [8][Dp][2], so that
one vector holds pairs for a pair product; float32: keys [D][16], values [16][Dp]. Dp is D rounded
up to 16. Tiles lie as [num_blocks][Hkv][block_size / 16].
"""

from dataclasses import dataclass

import numpy as np

TILE_TOKENS = 16
MAX_HEAD_DIM = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuKVLayer:
    """Tiles of one layer; `data` is uint16 (bfloat16 bits) or float32, 64-byte aligned."""

    data: np.ndarray
    num_blocks: int
    block_size: int
    num_kv_heads: int
    head_dim: int

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)

    @property
    def tiles_per_block(self) -> int:
        return self.block_size // TILE_TOKENS


def padded_head_dim(head_dim: int) -> int:
    """Round up to whole vectors of 16 values."""
    return -(-head_dim // TILE_TOKENS) * TILE_TOKENS


def block_nbytes(
    *, block_size: int, num_kv_heads: int, head_dim: int, dtype: np.dtype[np.generic]
) -> int:
    """Return the bytes of one block in one layer.

    Raises:
        ValueError: block_size is not a multiple of 16, or head_dim is odd or above 256.
    """
    if block_size < TILE_TOKENS or block_size % TILE_TOKENS:
        raise ValueError(
            f"block_size {block_size} is not supported on the CPU; choose a multiple of 16"
        )
    if head_dim < 2 or head_dim % 2 or head_dim > MAX_HEAD_DIM:
        raise ValueError(
            f"head_dim {head_dim} is not supported on the CPU; it must be even and at most "
            f"{MAX_HEAD_DIM}"
        )
    return block_size * num_kv_heads * (head_dim + padded_head_dim(head_dim)) * dtype.itemsize


def allocate_layers(
    *,
    num_layers: int,
    num_blocks: int,
    block_size: int,
    num_kv_heads: int,
    head_dim: int,
    dtype: np.dtype[np.generic],
) -> list[CpuKVLayer]:
    """Allocate zeroed layers; the system commits memory as blocks are written.

    Raises:
        ValueError: as `block_nbytes`.
    """
    nbytes = num_blocks * block_nbytes(
        block_size=block_size, num_kv_heads=num_kv_heads, head_dim=head_dim, dtype=dtype
    )

    def zeroed() -> np.ndarray:
        raw = np.zeros(nbytes + 64, np.uint8)
        skip = -raw.ctypes.data % 64
        return raw[skip : skip + nbytes].view(dtype)

    return [
        CpuKVLayer(
            data=zeroed(),
            num_blocks=num_blocks,
            block_size=block_size,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
        )
        for _ in range(num_layers)
    ]
