"""The micro-kernels as one Numba function: a tile of rows times a panel of 32 columns."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lite_kernels.cpu.isa import Isa, host_isa
from lite_kernels.cpu.isa.emitter import Emitter
from lite_kernels.cpu.isa.panel import PanelFormat, panel_of
from lite_kernels.cpu.isa.quantized_tile import (
    emit_quantized_tile,
    fetched_lines,
    quantized_rows,
)
from lite_kernels.cpu.isa.tile import emit_tile

_I64 = ir.IntType(64)


def max_rows(isa: Isa, panel: PanelFormat) -> int:
    """Rows of one tile at most."""
    return quantized_rows(isa) if panel.is_quantized else isa.max_rows


def single_rows(isa: Isa, panel: PanelFormat) -> int:
    """Rows up to which one tile is best; more are split over tiles that fetch the next panel.

    PERF: two half tiles of floats that prefetch beat one full tile by up to 1.7x.
    """
    return max_rows(isa, panel) if panel.is_quantized else max_rows(isa, panel) // 2


def fetched_bytes(panel: PanelFormat) -> int:
    """Bytes of the next panel that one tile of two fetches in a step."""
    return 64 * fetched_lines(panel) if panel.is_quantized else 64


def define_tile(
    module: ir.Module, isa: Isa, panel: PanelFormat, rows: int, prefetches: bool
) -> ir.Function:
    """Define void f(weights, x, x_stride, out, num_steps, prefetch), once per module.

    Each is a function of its own: inlined next to each other, they would spill registers.
    """
    name = f"lite_tile_{panel.name}_{rows}{'_prefetch' if prefetches else ''}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * 6), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    emitter = Emitter(ir.IRBuilder(function.append_basic_block("entry")), isa)
    if panel.is_quantized:
        emit_quantized_tile(emitter, function.args, panel, rows, prefetches)
    else:
        emit_tile(emitter, function.args, panel.name, rows, prefetches)
    emitter.builder.ret_void()
    return function


@intrinsic
def multiply_tile(typingctx, dtype, rows, weights, x, x_stride, out, num_steps, prefetch):
    """out[r, c] = sum over k of x[r, k] * panel[k, c], for `rows` rows and 32 columns.

    Args:
        dtype: np.uint16 for bfloat16 panels, np.float32, np.int8, or np.uint8 for int4.
        rows: 1 to `max_rows`; a tile that prefetches has at least half of `single_rows`.
        weights, x, x_stride, out: addresses and bytes; out float32 [rows, 32] aligned to a
            vector. Rows of x as `activation_bytes` says; for quantized panels as
            `ROW_BLOCK_BYTES` does.
        num_steps: steps of the panel, at least 1.
        prefetch: 0, or where the cache lines to fetch meanwhile begin.
    """
    panel = panel_of(dtype)

    def codegen(context, builder, signature, args):
        _, rows_value, weights_, x_, stride_, out_, steps_, prefetch_ = args
        isa = host_isa()
        most = max_rows(isa, panel)
        arguments = [weights_, x_, stride_, out_, steps_, prefetch_]
        after = builder.append_basic_block("tile.done")

        def dispatch(first: int, prefetches: bool) -> None:
            switch = builder.switch(rows_value, after)
            for rows_ in range(first, most + 1):
                block = builder.append_basic_block(f"tile.{rows_}")
                switch.add_case(ir.Constant(_I64, rows_), block)
                with builder.goto_block(block):
                    function = define_tile(builder.module, isa, panel, rows_, prefetches)
                    builder.call(function, arguments)
                    builder.branch(after)

        plain = builder.append_basic_block("tile.plain")
        prefetching = builder.append_basic_block("tile.prefetching")
        is_plain = builder.icmp_signed("==", prefetch_, ir.Constant(_I64, 0))
        builder.cbranch(is_plain, plain, prefetching)
        builder.position_at_end(plain)
        dispatch(1, False)
        builder.position_at_end(prefetching)
        dispatch((single_rows(isa, panel) + 1) // 2, True)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(dtype, *[types.int64] * 7), codegen
