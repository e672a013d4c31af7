"""Raw memory for kernels: typed loads and stores at addresses, atomics, calls, libc symbols."""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from lite_kernels.cpu.kernel import jit

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


def declare(module, name, result, arguments):
    """Return the external function `name`, declared once per module."""
    if name in module.globals:
        return module.globals[name]
    return ir.Function(module, ir.FunctionType(result, arguments), name)


@intrinsic
def pointer(typingctx, address, dtype):
    """Turn an address into a typed pointer, for `carray`."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(dtype.dtype)(types.int64, dtype), codegen


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


@jit
def array_at(address, shape, dtype):
    """View memory as a C-contiguous array."""
    return carray(pointer(address, dtype), shape)


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
