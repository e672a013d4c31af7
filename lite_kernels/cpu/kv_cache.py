"""The paged keys and values of a layer, in tiles of 16 tokens of one head.

A block holds the key tiles of its heads, then their value tiles. bfloat16: keys [D/2][16][2],
values [8][Dp][2], so that one vector holds pairs for a pair product; float32: keys [D][16], values
[16][Dp]; int8: keys + 128 as bytes [D4/4][16][4], behind them the float32 scales [16] of the keys
and [16] of the values, values [4][Dp][4]. Dp is D rounded up to 16, D4 to 4. Tiles lie as
[num_blocks], then [Hkv][block_size / 16].
"""

from dataclasses import dataclass

import numpy as np

TILE_TOKENS = 16
MAX_HEAD_DIM = 256
SCALES_BYTES = 4 * TILE_TOKENS  # one float32 a token, of keys or of values
_LINE_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuKVLayer:
    """Tiles of one layer, 64-byte aligned: `data` is uint16 (bfloat16 bits), float32 or uint8."""

    data: np.ndarray
    num_blocks: int
    block_size: int
    num_kv_heads: int
    head_dim: int

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)

    @property
    def is_quantized(self) -> bool:
        return self.data.dtype == np.uint8

    @property
    def tiles_per_block(self) -> int:
        return self.block_size // TILE_TOKENS

    @property
    def key_lines(self) -> int:
        """Cache lines of a tile's keys."""
        return _key_bytes(self.head_dim, self.data.dtype) // _LINE_BYTES

    @property
    def key_tile_bytes(self) -> int:
        """Bytes of a tile's keys, and of its scales."""
        return _key_tile_bytes(self.head_dim, self.data.dtype)

    @property
    def value_tile_bytes(self) -> int:
        return _value_tile_bytes(self.head_dim, self.data.dtype)


def padded_head_dim(head_dim: int) -> int:
    """Round up to whole vectors of 16 values."""
    return -(-head_dim // TILE_TOKENS) * TILE_TOKENS


def _key_bytes(head_dim: int, dtype: np.dtype[np.generic]) -> int:
    if dtype == np.uint8:
        return -(-head_dim // 4) * 4 * TILE_TOKENS
    return head_dim * TILE_TOKENS * dtype.itemsize


def _key_tile_bytes(head_dim: int, dtype: np.dtype[np.generic]) -> int:
    return _key_bytes(head_dim, dtype) + (2 * SCALES_BYTES if dtype == np.uint8 else 0)


def _value_tile_bytes(head_dim: int, dtype: np.dtype[np.generic]) -> int:
    return padded_head_dim(head_dim) * TILE_TOKENS * dtype.itemsize


def block_nbytes(
    *, block_size: int, num_kv_heads: int, head_dim: int, dtype: np.dtype[np.generic]
) -> int:
    """Return the bytes of one block in one layer; dtype as `CpuKVLayer.data`.

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
    tile_bytes = _key_tile_bytes(head_dim, dtype) + _value_tile_bytes(head_dim, dtype)
    return block_size // TILE_TOKENS * num_kv_heads * tile_bytes


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
