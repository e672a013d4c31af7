"""How the memory is divided, and what is said when it does not suffice."""

from pathlib import Path
from typing import Any

import pytest

from lite.engine.memory_plan import GIB, MemoryPlan, plan_memory
from lite.errors import CapacityError, ConfigError
from tests.engines import tiny_model

MIB = 1 << 20


def plan(**changes: Any) -> MemoryPlan:
    arguments: dict[str, Any] = {
        "weights_bytes": 1 * GIB,
        "weights_format": "bfloat16",
        "kv_cache_format": "bfloat16",
        "activations_bytes": 100 * MIB,
        "block_bytes": 1 * MIB,
        "block_size": 16,
        "model_max_len": 4096,
        "max_model_len": None,
        "max_num_seqs": 256,
        "available_bytes": 10 * GIB,
    }
    return plan_memory(**{**arguments, **changes})


def test_the_cache_takes_at_most_four_gib_unless_one_sequence_needs_more() -> None:
    assert plan().kv_cache_bytes == 4 * GIB
    assert plan(model_max_len=96 * 1024).kv_cache_bytes == 6 * GIB


def test_the_cache_takes_no_more_than_all_sequences_can_use() -> None:
    assert plan(max_num_seqs=2, model_max_len=64).num_blocks == 8


def test_a_cache_of_int8_holds_twice_the_tokens(tmp_path: Path) -> None:
    plans = {
        dtype: tiny_model(tmp_path / dtype, kv_cache_dtype=dtype).plan for dtype in ("auto", "int8")
    }
    # head_dim is 64: 64 bytes and a scale of 4 instead of 128 bytes.
    assert plans["int8"].block_bytes / plans["auto"].block_bytes == 68 / 128
    assert any("1024 tokens, int8" in line for line in plans["int8"].lines())
    assert any("1024 tokens, bfloat16" in line for line in plans["auto"].lines())


def test_the_context_shrinks_to_what_fits_unless_it_was_asked_for() -> None:
    little = {"available_bytes": 2 * GIB, "model_max_len": 32 * 1024}
    shrunk = plan(**little)
    assert shrunk.max_model_len == shrunk.longest_context == shrunk.num_blocks * 16
    assert any("raise max_model_len" in line for line in shrunk.lines())
    with pytest.raises(CapacityError, match=rf"Set max_model_len to {shrunk.max_model_len} or"):
        plan(max_model_len=32 * 1024, **little)


def test_what_does_not_fit_is_refused_with_its_parts() -> None:
    with pytest.raises(CapacityError, match=r"weights 1\.00 GiB, .* 512\.0 MiB of memory are"):
        plan(available_bytes=GIB // 2)
    with pytest.raises(CapacityError, match="lower max_num_batched_tokens, num_kv_blocks"):
        plan(num_kv_blocks=20_000)


def test_quantizing_is_no_remedy_for_what_is_quantized() -> None:
    for weights_format, advised in (("bfloat16", True), ("int8", True), ("int4", False)):
        with pytest.raises(CapacityError) as caught:
            plan(available_bytes=GIB // 2, weights_format=weights_format)
        assert ("quantize the weights" in str(caught.value)) == advised


def test_a_cache_smaller_than_a_block_is_refused_with_the_size_of_one() -> None:
    assert plan(kv_cache_memory=MIB).num_blocks == 1
    with pytest.raises(ConfigError, match=r"is 1048575 bytes, but one block .* takes 1048576;"):
        plan(kv_cache_memory=MIB - 1)


def test_an_explicit_size_of_the_cache_wins() -> None:
    assert plan(num_kv_blocks=300).num_blocks == 300
    assert plan(kv_cache_memory=300 * MIB).num_blocks == 300


def test_more_context_than_the_model_was_made_for_is_refused() -> None:
    assert plan(max_model_len=4096).max_model_len == 4096
    with pytest.raises(ConfigError, match="is 4097, but the model was made for 4096 tokens"):
        plan(max_model_len=4097)


def test_a_context_without_room_for_an_output_is_refused() -> None:
    assert plan(max_model_len=2).max_model_len == 2
    with pytest.raises(ConfigError, match="at least 2 tokens"):
        plan(max_model_len=1)
