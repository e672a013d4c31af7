"""Kernels that say which operation of the model every timed entry belongs to."""

import contextlib
import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lite.bench.cost import Cost, attention_cost, linear_cost
from lite.models.weights import Weights
from lite_kernels.interface import Array, Kernels, ObservableKernels, ObservedProgram

# Operations of `Kernels` as a profile names them; products are named by their weights.
_NAMES = {
    "embed": "embed",
    "rope_rows": "rope_rows",
    "qk_norm_rope_store": "rope+store",
    "attention": "attention",
    "logits": "logits",
    "sample": "sample",
    "edit_logits": "edit_logits",
    "logprobs": "logprobs",
}
_PRODUCTS = ("norm_linear", "linear_add", "norm_gated_linear", "logits")
NORM = "norm"

Row = tuple[str, str]  # an operation, and the kernel of an entry


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run: what it was, nanoseconds in each part, and the least it could have cost.

    `num_tokens` and `num_seqs` are those of a forward pass, 0 for anything else.
    """

    num_tokens: int
    num_seqs: int
    rows: list[Row]
    num_entries: npt.NDArray[np.int64]  # of each row
    row_ns: npt.NDArray[np.int64]
    calls: Mapping[str, int]  # of each operation
    costs: Mapping[str, Cost]
    wake_ns: int
    total_ns: int


@dataclass(slots=True)
class _Attention:
    """Layers of attention over the same sequences; their lengths are read after each run."""

    arguments: Mapping[str, Any]
    token_bytes: float
    num_layers: int = 0

    def cost(self) -> Cost:
        _, num_heads, head_dim = self.arguments["q"].shape
        one = attention_cost(
            self.arguments["seq_lens"],
            self.arguments["query_start_loc"],
            sliding_window=self.arguments["sliding_window"],
            num_heads=num_heads,
            head_dim=head_dim,
            token_bytes=self.token_bytes,
        )
        return one * self.num_layers


@dataclass(slots=True)
class _Operations:
    """What a program does: for each entry its row, and the costs."""

    rows: dict[Row, int] = field(default_factory=dict)
    entries: list[int] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    attentions: dict[tuple[int, int], _Attention] = field(default_factory=dict)

    def add(self, name: str, operation: str, kernel_names: list[str], cost: Cost | None) -> None:
        splits_norm = operation in _PRODUCTS
        parts = [NORM if splits_norm and NORM in kernel else name for kernel in kernel_names]
        for part, kernel in zip(parts, kernel_names, strict=True):
            self.entries.append(self.rows.setdefault((part, kernel), len(self.rows)))
            if part != name:
                self.calls[part] = self.calls.get(part, 0) + 1
        self.calls[name] = self.calls.get(name, 0) + 1
        if cost is not None:
            self.costs[name] = self.costs.get(name, Cost()) + cost

    def run(self, clock_ns: npt.NDArray[np.int64]) -> Run:
        durations = np.diff(clock_ns)
        entries = np.array(self.entries, np.intp)
        row_ns = np.zeros(len(self.rows), np.int64)
        np.add.at(row_ns, entries, durations[1:])
        costs = dict(self.costs)
        num_tokens = num_seqs = 0
        for attention in self.attentions.values():
            costs["attention"] = costs.get("attention", Cost()) + attention.cost()
            num_tokens = attention.arguments["q"].shape[0]
            num_seqs = attention.arguments["seq_lens"].shape[0]
        return Run(
            num_tokens=num_tokens,
            num_seqs=num_seqs,
            rows=list(self.rows),
            num_entries=np.bincount(entries, minlength=len(self.rows)),
            row_ns=row_ns,
            calls=self.calls,
            costs=costs,
            wake_ns=int(durations[0]),
            total_ns=int(clock_ns[-1] - clock_ns[0]),
        )


class ObservedKernels:
    """Passes everything on to `inner`, and each timed run to `on_run`.

    Attributes and operations that it does not know are `inner`'s own.
    """

    def __init__(
        self, inner: Kernels, weights: Weights, on_run: Callable[[Callable[[], Run]], None]
    ) -> None:
        assert isinstance(inner, ObservableKernels)
        self._inner = inner
        self._on_run = on_run
        self._names = _product_names(weights)
        self._known: weakref.WeakKeyDictionary[Any, _Operations] = weakref.WeakKeyDictionary()
        self._recording: tuple[Any, _Operations] | None = None
        self._at_once: tuple[str, str, Cost | None] = ("other", "", None)
        self._token_bytes = 0.0
        # PERF: found at once, since it is called while the step's own time is measured.
        self.run = inner.run
        inner.observe_runs(self._observe)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name in _NAMES or name in _PRODUCTS:
            return partial(self._operate, name, attribute)
        return attribute

    def allocate_kv_cache(self, *, num_blocks: int, block_size: int, **shape: Any) -> list[Any]:
        layers = self._inner.allocate_kv_cache(
            num_blocks=num_blocks, block_size=block_size, **shape
        )
        self._token_bytes = layers[0].nbytes / (num_blocks * block_size)
        return layers

    @contextlib.contextmanager
    def record(self) -> Iterator[Any]:
        operations = _Operations()
        with self._inner.record() as program:
            self._recording = program, operations
            try:
                yield program
            finally:
                self._recording = None
        self._known[program] = operations

    def _operate(
        self, operation: str, function: Callable[..., None], *args: Any, **kwargs: Any
    ) -> None:
        name, cost = _NAMES.get(operation, operation), None
        if operation in _PRODUCTS or self._recording is not None:
            arguments = inspect.signature(function).bind(*args, **kwargs).arguments
            if operation in _PRODUCTS:
                name = self._names.get(id(arguments["linear"]), name)
                cost = linear_cost(operation, arguments)
        if self._recording is None:
            self._at_once = name, operation, cost
            try:
                function(*args, **kwargs)
            finally:
                self._at_once = "other", "", None
            return
        program, operations = self._recording
        first = len(program.kernel_names)
        function(*args, **kwargs)
        operations.add(name, operation, program.kernel_names[first:], cost)
        if operation == "attention":
            key = id(arguments["seq_lens"]), arguments["sliding_window"]
            same = operations.attentions.setdefault(key, _Attention(arguments, self._token_bytes))
            same.num_layers += 1

    def _observe(self, program: ObservedProgram, clock_ns: Array) -> None:
        self._on_run(lambda: self._describe(program, clock_ns))

    def _describe(self, program: ObservedProgram, clock_ns: Array) -> Run:
        operations = self._known.get(program)
        if operations is None:
            operations = _Operations()
            name, operation, cost = self._at_once
            operations.add(name, operation, program.kernel_names, cost)
        return operations.run(clock_ns)


def _product_names(weights: Weights) -> dict[int, str]:
    """Return the names of a layer's products by the identity of their weights."""
    return {
        id(getattr(layer, name)): name
        for layer in weights.layers
        for name in ("qkv", "output", "gate_up", "down")
    }
