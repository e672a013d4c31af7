"""The kernel decorators: lazily compiled, cached on disk, called by address without the GIL."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.extending import overload

from lite_kernels.cpu.cache import kernel_directory, remove_unsealed, seal
from lite_kernels.cpu.isa import host_isa

# NOTE: numpy error model: no Python exceptions for divisions, so loops vectorise.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "boundscheck": False, "nogil": True}
_SIGNATURE = types.void(types.int64, types.int64, types.int64)
_compile_lock = threading.Lock()


def jit(function: Callable[..., Any]) -> Any:
    """Mark a function that kernels call; it is compiled into each of them."""
    return numba.njit(**_OPTIONS)(function)


def jit_inline(function: Callable[..., Any]) -> Any:
    """Like `jit`, inlined in any case: for math in loops that must become vector code."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)


def jit_fast(function: Callable[..., Any]) -> Any:
    """Like `jit`, for reductions: the compiler may reorder and fuse additions.

    NOTE: the order is settled at compile time, so results do not depend on the batch as long as
    a reduction always runs over the same extent.
    """
    return numba.njit(fastmath={"reassoc", "contract", "nsz"}, **_OPTIONS)(function)


def by_cache(floats: Callable[..., Any], quantized: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function for kernels that is one of two, by its first argument.

    That is the type of a layer's `data`: np.uint8 for `quantized`. Both take the same arguments.
    NOTE: a function passed as an argument would keep a kernel out of the disk cache.
    """

    def chosen(cache: Any, *arguments: Any) -> None:
        raise NotImplementedError("only kernels can call this")

    @overload(chosen, jit_options=_OPTIONS, strict=False)
    def choose(cache: Any, *arguments: Any) -> Any:
        return quantized if cache.dtype == types.uint8 else floats

    return chosen


class Kernel:
    """A function (tid, num_threads, record address) -> None, compiled at its first use.

    All threads of a team call it with the same record and their own `tid`. It must not raise,
    and must not read a module global that changes. Hold it in a module global.
    """

    def __init__(self, function: Callable[[int, int, int], None], fastmath: set[str]) -> None:
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self._function = function
        self._fastmath = fastmath
        self._compiled: Any = None

    @property
    def address(self) -> int:
        """Address of the machine code; compiles, or loads from the disk cache, once."""
        if self._compiled is None:
            with _compile_lock:
                if self._compiled is None:
                    self._compiled = _undisturbed(self._compile)
        return int(self._compiled.address)

    @property
    def is_loaded(self) -> bool:
        """Whether the machine code is in memory."""
        return self._compiled is not None

    @property
    def cache_name(self) -> str:
        """How the names of its files in the disk cache begin, up to the version of Python."""
        line = self._function.__code__.co_firstlineno
        return f"{self.__module__.rpartition('.')[2]}.{self._function.__qualname__}-{line}"

    @property
    def ctypes(self) -> Callable[[int, int, int], None]:
        """Callable from Python; releases the GIL."""
        _ = self.address
        function: Callable[[int, int, int], None] = self._compiled.ctypes
        return function

    def _compile(self) -> Any:
        options = dict(_OPTIONS)
        if self._fastmath:
            options["fastmath"] = self._fastmath
        directory = kernel_directory(host_isa().name)
        remove_unsealed(self._cached())
        # NOTE: Numba reads CACHE_DIR while it decorates; restored for the program around us.
        previous = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = directory
        try:
            compiled = numba.cfunc(_SIGNATURE, cache=True, **options)(self._function)
        except Exception:
            # What a damaged file raises is anything; an error of the code comes again below.
            self._remove_cached()
        else:
            seal(self._cached())
            return compiled
        finally:
            numba.config.CACHE_DIR = previous
        # Nor must a full disk keep the engine from starting.
        return numba.cfunc(_SIGNATURE, **options)(self._function)

    def _remove_cached(self) -> None:
        """Remove its files from the disk cache, so that the next process compiles it anew."""
        for path in self._cached():
            with contextlib.suppress(OSError):
                path.unlink()

    def _cached(self) -> list[Path]:
        """Return its files in the disk cache."""
        directory = Path(kernel_directory(host_isa().name))
        return list(directory.glob(f"*/{self.cache_name}.*.nb[ci]"))


def _undisturbed(compile_: Callable[[], Any]) -> Any:
    """Return what `compile_` returns, from a thread where no signal handler of Python runs.

    An exception such as KeyboardInterrupt within LLVM's callbacks is lost, or ends the process.
    It is raised here instead, once the thread has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        return compile_()
    with ThreadPoolExecutor(1) as executor:
        try:
            future = executor.submit(compile_)
        except RuntimeError:
            return compile_()  # the system starts no more threads
        return future.result()


def kernel(*, fastmath: set[str] | None = None) -> Callable[[Callable[..., None]], Kernel]:
    """Decorate a function (tid, num_threads, args) as a kernel.

    Args:
        fastmath: LLVM flags such as {"contract", "reassoc"}. NOTE: reassociation is chosen at
            compile time, so it keeps results independent of the batch, but a reduction must then
            run over the same extent in every schedule.
    """
    return lambda function: Kernel(function, fastmath or set())
