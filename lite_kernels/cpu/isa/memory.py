"""Raw memory for kernels: typed loads and stores at addresses, atomics, calls, libc symbols."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


def declare(module, name, result, arguments):
    """Return the external function `name`, declared once per module."""
    if name in module.globals:
        return module.globals[name]
    return ir.Function(module, ir.FunctionType(result, arguments), name)


@intrinsic
def load(typingctx, address, dtype):
    """Load one unaligned scalar of a type such as np.float32."""

    def codegen(context, builder, signature, args):
        llvm_type = context.get_value_type(signature.return_type)
        value = builder.load(builder.inttoptr(args[0], llvm_type.as_pointer()))
        value.align = 1
        return value

    return dtype.dtype(types.int64, dtype), codegen


@intrinsic
def store(typingctx, address, value, dtype):
    """Cast to a type such as np.float32 and store one unaligned scalar."""

    def codegen(context, builder, signature, args):
        cast = context.cast(builder, args[1], signature.args[1], dtype.dtype)
        where = builder.inttoptr(args[0], cast.type.as_pointer())
        builder.store(cast, where).align = 1
        return context.get_dummy_value()

    return types.void(types.int64, value, dtype), codegen


@intrinsic
def array_at(typingctx, address, shape, dtype):
    """View memory as a C-contiguous array of an integer size, or of a tuple of them.

    PERF: `carray` is compiled anew for every shape and type, 0.1 s each.
    """
    num_dimensions = len(shape) if isinstance(shape, types.BaseTuple) else 1
    result = types.Array(dtype.dtype, num_dimensions, "C")

    def codegen(context, builder, signature, args):
        sizes, kinds = [args[1]], [signature.args[1]]
        if isinstance(kinds[0], types.BaseTuple):
            sizes, kinds = cgutils.unpack_tuple(builder, args[1]), list(kinds[0])
        sizes = [
            context.cast(builder, size, kind, types.intp)
            for size, kind in zip(sizes, kinds, strict=True)
        ]
        item_type = context.get_data_type(result.dtype)
        item_bytes = context.get_constant(types.intp, context.get_abi_sizeof(item_type))
        strides = [item_bytes]
        for size in reversed(sizes[1:]):
            strides.insert(0, builder.mul(size, strides[0]))
        array = context.make_array(result)(context, builder)
        populate_array(
            array,
            data=builder.inttoptr(args[0], item_type.as_pointer()),
            shape=sizes,
            strides=strides,
            itemsize=item_bytes,
            meminfo=None,
        )
        return array._getvalue()

    return result(types.int64, shape, dtype), codegen


@intrinsic
def prefetch_line(typingctx, address):
    """Fetch the cache line at an address, which is about to be written."""

    def codegen(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        arguments = [pointer, _I32, _I32, _I32]
        function = declare(builder.module, "llvm.prefetch.p0", ir.VoidType(), arguments)
        flags = [ir.Constant(_I32, value) for value in (1, 3, 1)]
        builder.call(function, [builder.inttoptr(args[0], pointer), *flags])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def bits_to_float(typingctx, bits):
    """Reinterpret the low 32 bits of an integer as float32."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), codegen


@intrinsic
def float_to_bits(typingctx, value):
    """Reinterpret a float32 as uint32."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], _I32)

    return types.uint32(types.float32), codegen


@intrinsic
def atomic_add(typingctx, address, value):
    """Add to an int64 and return what it was before (acquire and release)."""

    def codegen(context, builder, signature, args):
        where = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.atomic_rmw("add", where, args[1], "acq_rel")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def atomic_load(typingctx, address):
    """Read an int64 (acquire)."""

    def codegen(context, builder, signature, args):
        where = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.load_atomic(where, "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def atomic_store(typingctx, address, value):
    """Write an int64 (release)."""

    def codegen(context, builder, signature, args):
        where = builder.inttoptr(args[0], _I64.as_pointer())
        builder.store_atomic(args[1], where, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def cpu_pause(typingctx):
    """Tell the core that this is a spin loop."""

    def codegen(context, builder, signature, args):
        triple = builder.module.triple or ""
        if triple.startswith(("x86_64", "i686")):
            builder.call(declare(builder.module, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        else:
            builder.fence("acquire")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def call_kernel(typingctx, function, tid, num_threads, args):
    """Call the kernel compiled at an address."""

    def codegen(context, builder, signature, values):
        function_type = ir.FunctionType(ir.VoidType(), [_I64] * 3)
        builder.call(builder.inttoptr(values[0], function_type.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic(prefer_literal=True)
def stack_bytes(typingctx, size):
    """Address of `size` (a literal) bytes of uninitialised, 64-byte aligned stack memory."""
    if not isinstance(size, types.IntegerLiteral):
        return None

    def codegen(context, builder, signature, args):
        # In the entry block, so that a loop does not grow the stack.
        with builder.goto_entry_block():
            area = builder.alloca(ir.ArrayType(ir.IntType(8), signature.args[0].literal_value))
            area.align = 64
        return builder.ptrtoint(area, _I64)

    return types.int64(size), codegen


def _external(name, num_arguments):
    """Declare an int-returning libc function of integer and pointer arguments."""

    def call(context, builder, signature, args):
        function = declare(builder.module, name, _I32, [_I64] * num_arguments)
        builder.call(function, args)
        return context.get_dummy_value()

    return types.void(*[types.int64] * num_arguments), call


@intrinsic
def sched_yield(typingctx):
    return _external("sched_yield", 0)


@intrinsic
def monotonic_ns(typingctx):
    """Return CLOCK_MONOTONIC in nanoseconds, about 25 ns a call."""

    def codegen(context, builder, signature, args):
        with builder.goto_entry_block():
            seconds_and_ns = builder.alloca(ir.ArrayType(_I64, 2))
        get = declare(builder.module, "clock_gettime", _I32, [_I32, _I64])
        clock = ir.Constant(_I32, time.CLOCK_MONOTONIC)
        builder.call(get, [clock, builder.ptrtoint(seconds_and_ns, _I64)])
        seconds, ns = (
            builder.load(builder.gep(seconds_and_ns, [ir.Constant(_I32, 0), ir.Constant(_I32, i)]))
            for i in range(2)
        )
        return builder.add(builder.mul(seconds, ir.Constant(_I64, 1_000_000_000)), ns)

    return types.int64(), codegen


@intrinsic
def mutex_init(typingctx, mutex, attributes):
    return _external("pthread_mutex_init", 2)


@intrinsic
def mutex_lock(typingctx, mutex):
    return _external("pthread_mutex_lock", 1)


@intrinsic
def mutex_unlock(typingctx, mutex):
    return _external("pthread_mutex_unlock", 1)


@intrinsic
def condition_init(typingctx, condition, attributes):
    return _external("pthread_cond_init", 2)


@intrinsic
def condition_wait(typingctx, condition, mutex):
    return _external("pthread_cond_wait", 2)


@intrinsic
def condition_broadcast(typingctx, condition):
    return _external("pthread_cond_broadcast", 1)


def empty_aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Allocate an uninitialised C-contiguous array whose first byte is 64-byte aligned."""
    dtype = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(nbytes + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + nbytes].view(dtype).reshape(shape)
