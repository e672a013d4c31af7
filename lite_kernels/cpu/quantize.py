"""Packing that quantizes: panel by panel from the checkpoint's own arrays, on all threads.

No copy of a tensor is made, and a panel's bits depend on nothing but its 32 columns.
"""

import numpy as np

from lite_kernels.cpu.isa.memory import array_at, stack_bytes
from lite_kernels.cpu.isa.panel import PANEL
from lite_kernels.cpu.isa.quantize_panel import quantize_block
from lite_kernels.cpu.kernel import jit, kernel
from lite_kernels.cpu.program import argument, next_ticket
from lite_kernels.cpu.source import read_floats
from lite_kernels.dtypes import QUANTIZED_BLOCK

# PERF: a source row is read in pieces of some cache lines; their transposed copy stays in L1.
_PIECE = 2 * QUANTIZED_BLOCK
_PIECE_BYTES = 4 * _PIECE
_BUFFER_BYTES = _PIECE_BYTES * PANEL
_BLOCK_BYTES = 4 * QUANTIZED_BLOCK * PANEL


@jit
def _transpose(addresses, first_k, n, source, piece, buffer):
    """Read [first_k, first_k + 64) of 32 rows into float32 [64 k][32 columns], zeros beyond n."""
    count = min(_PIECE, n - first_k)
    floats = array_at(piece, _PIECE, np.float32)
    columns = array_at(buffer, (_PIECE, PANEL), np.float32)
    for column in range(PANEL):
        available = count if addresses[column] != 0 else 0
        if available > 0:
            read_floats(addresses[column], first_k, available, source, piece)
        for k in range(available):
            columns[k, column] = floats[k]
        for k in range(available, _PIECE):
            columns[k, column] = np.float32(0.0)


@jit
def _pack(tid, num_threads, args, dtype):
    rows, out = argument(args, 0), argument(args, 1)
    num_panels, n, source = argument(args, 2), argument(args, 3), argument(args, 4)
    num_blocks = (n + QUANTIZED_BLOCK - 1) // QUANTIZED_BLOCK
    step_bytes = argument(args, 5)
    piece, buffer = stack_bytes(_PIECE_BYTES), stack_bytes(_BUFFER_BYTES)
    panel = next_ticket(args, num_threads, num_panels)
    while panel >= 0:
        addresses = array_at(rows + panel * PANEL * 8, PANEL, np.int64)
        for block in range(num_blocks):
            part = block % 2
            if part == 0:
                _transpose(addresses, block * QUANTIZED_BLOCK, n, source, piece, buffer)
            where = out + (panel * num_blocks + block) * step_bytes
            quantize_block(dtype, buffer + part * _BLOCK_BYTES, where)
        panel = next_ticket(args, num_threads, num_panels)


@kernel()
def pack_int8(tid, num_threads, args):
    """Quantize rows into int8 panels.

    Record: int64 addresses of the source rows in panel order (0: zeros), out, panels, K, source,
    bytes of a step.
    """
    _pack(tid, num_threads, args, np.int8)


@kernel()
def pack_int4(tid, num_threads, args):
    """Quantize rows into int4 panels; the record is that of `pack_int8`."""
    _pack(tid, num_threads, args, np.uint8)
