"""How the memory is divided between weights, activations and KV cache, decided before loading."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from lite.errors import CapacityError, ConfigError

GIB = 1 << 30
# Unless told otherwise the KV cache takes at most this much, or one full-length sequence.
DEFAULT_KV_CACHE_BYTES = 4 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Bytes of each part, and what they allow."""

    available_bytes: int
    weights_bytes: int
    weights_format: str
    kv_cache_format: str
    activations_bytes: int
    block_bytes: int  # one block in all layers
    block_size: int
    num_blocks: int
    max_model_len: int
    model_max_len: int

    @property
    def kv_cache_bytes(self) -> int:
        return self.num_blocks * self.block_bytes

    @property
    def longest_context(self) -> int:
        """Tokens of the longest single sequence that fits."""
        return min(self.num_blocks * self.block_size, self.max_model_len)

    def lines(self) -> list[str]:
        """Return the plan as text, one part a line."""
        total = self.weights_bytes + self.activations_bytes + self.kv_cache_bytes
        tokens = self.num_blocks * self.block_size
        lines = [
            f"weights      {_size(self.weights_bytes)}  ({self.weights_format})",
            f"activations  {_size(self.activations_bytes)}",
            f"KV cache     {_size(self.kv_cache_bytes)}  ({self.num_blocks} blocks of "
            f"{self.block_size} = {tokens} tokens, {self.kv_cache_format})",
            f"total        {_size(total)} of {_size(self.available_bytes)} available",
            f"longest context {self.longest_context} tokens",
        ]
        if self.max_model_len < self.model_max_len:
            lines.append(
                f"the model allows {self.model_max_len} tokens; for more than "
                f"{self.max_model_len} raise max_model_len or kv_cache_memory"
            )
        return lines


def plan_memory(
    *,
    weights_bytes: int,
    weights_format: str,
    kv_cache_format: str,
    activations_bytes: int,
    block_bytes: int,
    block_size: int,
    model_max_len: int,
    max_model_len: int | None,
    max_num_seqs: int,
    num_kv_blocks: int | None = None,
    kv_cache_memory: int | None = None,
    memory_fraction: float = 0.8,
    available_bytes: int | None = None,
) -> MemoryPlan:
    """Decide the number of KV blocks and the longest sequence.

    An explicit `num_kv_blocks` or `kv_cache_memory` wins; otherwise the cache gets what
    `memory_fraction` of the available memory leaves, at most 4 GiB or one full-length sequence,
    whichever is more. Without an explicit `max_model_len` the context shrinks to what fits.

    Raises:
        ConfigError: `max_model_len` is more than the model was made for, or less than 2, or
            `kv_cache_memory` less than a block.
        CapacityError: it cannot fit; says by how much and what to change.
    """
    if max_model_len is not None and max_model_len > model_max_len:
        raise ConfigError(
            f"max_model_len is {max_model_len}, but the model was made for {model_max_len} tokens; "
            "lower it, or leave it out."
        )
    if max_model_len == 1:
        raise ConfigError("max_model_len is 1; a prompt and its output take at least 2 tokens.")
    if kv_cache_memory is not None and num_kv_blocks is None and kv_cache_memory < block_bytes:
        raise ConfigError(
            f"kv_cache_memory is {kv_cache_memory} bytes, but one block of {block_size} tokens "
            f"takes {block_bytes}; raise it, or leave it out."
        )
    available = available_memory() if available_bytes is None else available_bytes
    wanted_len = max_model_len or model_max_len
    sequence_blocks = -(-wanted_len // block_size)
    usable = int(available * memory_fraction) - weights_bytes - activations_bytes
    if num_kv_blocks is not None:
        num_blocks = num_kv_blocks
    elif kv_cache_memory is not None:
        num_blocks = kv_cache_memory // block_bytes
    else:
        budget = min(usable, max(DEFAULT_KV_CACHE_BYTES, sequence_blocks * block_bytes))
        num_blocks = min(budget // block_bytes, max_num_seqs * sequence_blocks)
    plan = MemoryPlan(
        available_bytes=available,
        weights_bytes=weights_bytes,
        weights_format=weights_format,
        kv_cache_format=kv_cache_format,
        activations_bytes=activations_bytes,
        block_bytes=block_bytes,
        block_size=block_size,
        num_blocks=max(num_blocks, 0),
        max_model_len=wanted_len,
        model_max_len=model_max_len,
    )
    needed = weights_bytes + activations_bytes + plan.kv_cache_bytes
    if num_blocks < 1 or needed > available:
        smaller = "" if weights_format == "int4" else "quantize the weights (model.quantization), "
        raise CapacityError(
            f"The model does not fit: weights {_size(weights_bytes)}, activations "
            f"{_size(activations_bytes)}, KV cache {_size(max(plan.kv_cache_bytes, block_bytes))}, "
            f"but {_size(available)} of memory are available and memory_fraction is "
            f"{memory_fraction}. Free memory, lower max_num_batched_tokens, num_kv_blocks or "
            f"kv_cache_memory, raise memory_fraction, {smaller}or use a smaller model."
        )
    if num_blocks >= sequence_blocks:
        return plan
    if max_model_len is not None:
        raise CapacityError(
            f"max_model_len {max_model_len} needs {sequence_blocks} KV blocks of {block_size} "
            f"tokens ({_size(sequence_blocks * block_bytes)}), but only {num_blocks} "
            f"({_size(plan.kv_cache_bytes)}) fit. Set max_model_len to {num_blocks * block_size} "
            "or less, or raise kv_cache_memory, num_kv_blocks or memory_fraction."
        )
    return replace(plan, max_model_len=num_blocks * block_size)


def available_memory() -> int:
    """Return the bytes this process may still take: physical memory and its cgroup's limit."""
    limits = [_meminfo_available(), *_cgroup_available()]
    return min(limit for limit in limits if limit is not None)


def _meminfo_available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")


def _cgroup_available() -> list[int]:
    root = Path("/sys/fs/cgroup")
    files = [
        (root / "memory.max", root / "memory.current", root / "memory.stat"),
        (
            root / "memory/memory.limit_in_bytes",
            root / "memory/memory.usage_in_bytes",
            root / "memory/memory.stat",
        ),
    ]
    found = []
    for limit_file, usage_file, stat_file in files:
        try:
            limit, usage = limit_file.read_text().strip(), int(usage_file.read_text())
            stat = dict(line.split() for line in stat_file.read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit.isdigit():
            # Cached file pages count as usage but are given up on demand.
            reclaimable = int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
            found.append(max(int(limit) - max(usage - reclaimable, 0), 0))
    return found


def _size(num_bytes: int) -> str:
    if num_bytes >= GIB:
        return f"{num_bytes / GIB:.2f} GiB"
    return f"{num_bytes / (1 << 20):.1f} MiB"
