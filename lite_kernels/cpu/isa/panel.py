"""How weights lie in memory: panels of 32 output columns, each a linear stream of steps.

A step is what one round of a micro-kernel's loop reads:

- float32: one k of [32 columns]; bfloat16: [32 columns][2 k].
- int8: 32 float16 scales, one a column; then 8 groups j of [32 columns][4 k] bytes q + 128, k =
  4j..4j + 3; |q| <= 127, weight = scale * q.
- int4: 32 float16 scales; then 4 groups j of [32 columns][4] bytes whose low nibbles are
  k = 4j..4j + 3 and whose high nibbles are k = 16 + 4j..; weight = scale * (nibble - 8).
"""

from dataclasses import dataclass
from typing import Any

from numba import types

from lite_kernels.dtypes import QUANTIZED_BLOCK

PANEL = 32
STEP_BYTES = 128  # of a float panel
SCALES_BYTES = 2 * PANEL
GROUP_BYTES = 4 * PANEL


@dataclass(frozen=True, slots=True)
class PanelFormat:
    """`step_size` inputs in `step_bytes` a step; `offset` is what a stored integer has too much."""

    name: str
    step_size: int
    step_bytes: int
    offset: int = 0

    @property
    def is_quantized(self) -> bool:
        return self.offset > 0

    @property
    def step_lines(self) -> int:
        """Cache lines of a step."""
        return self.step_bytes // 64

    def num_steps(self, in_features: int) -> int:
        """Steps of a panel; the last one is padded with zeros."""
        return -(-in_features // self.step_size)

    def num_panels(self, out_features: int, *, gated: bool) -> int:
        """Panels of a linear; a gated one keeps 16 columns of gate and 16 of up in each."""
        return -(-out_features // (PANEL // 2 if gated else PANEL))

    def nbytes(self, out_features: int, in_features: int, *, gated: bool) -> int:
        """Bytes of all panels."""
        panels = self.num_panels(out_features, gated=gated)
        return panels * self.num_steps(in_features) * self.step_bytes


def _quantized(name: str, bits: int, offset: int) -> PanelFormat:
    step_bytes = SCALES_BYTES + PANEL * QUANTIZED_BLOCK * bits // 8
    return PanelFormat(name, QUANTIZED_BLOCK, step_bytes, offset)


FLOAT32 = PanelFormat("float32", 1, STEP_BYTES)
BFLOAT16 = PanelFormat("bfloat16", 2, STEP_BYTES)
INT8 = _quantized("int8", 8, 128)
INT4 = _quantized("int4", 4, 8)
FORMATS = {panel.name: panel for panel in (FLOAT32, BFLOAT16, INT8, INT4)}

# What stands for a format where Numba compiles; uint8: two int4 a byte.
_PANELS = {
    types.float32: FLOAT32,
    types.uint16: BFLOAT16,
    types.int8: INT8,
    types.uint8: INT4,
}


def panel_of(dtype: Any) -> PanelFormat:
    """Return the format that Numba's type of np.float32, uint16, int8 or uint8 stands for."""
    return _PANELS[dtype.dtype]


# A row that enters a quantized product: per block its scale (float32), the start of its sums
# (int32, -offset * sum of the values) and 32 int8 values.
# PERF: one stream a row; three would need more address registers than there are.
ROW_BLOCK_BYTES = 8 + QUANTIZED_BLOCK


def row_bytes(num_steps: int) -> int:
    """Bytes of a row that enters a quantized product, a multiple of 64."""
    return -(-num_steps * ROW_BLOCK_BYTES // 64) * 64
