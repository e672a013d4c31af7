"""Quantizing while loading, `lite quantize`, and the cache of packed weights: one set of bits."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lite import LLM, CheckpointError, ConfigError, SamplingParams, UnsupportedModelError
from lite.cli import main
from lite.config import Config, EngineConfig, ModelConfig
from lite.engine.weights_cache import _fill
from lite.formats.safetensors import SafetensorsFile
from lite.models.packed_weights import packed_file
from lite_kernels.cpu.cache import kernel_directory
from lite_kernels.cpu.isa import ISAS, host_isa, supported
from lite_kernels.dtypes import from_bfloat16
from server.app import fingerprint
from tests.checkpoints import (
    make_checkpoint,
    make_config,
    make_tensors,
    make_tokenizer,
    write_safetensors,
)

ROOT = Path(__file__).parents[2]
FORMATS = ("int8", "int4")
MODELS: dict[str, dict[str, Any]] = {
    "tied": {"architecture": "qwen3"},
    "untied, biases, odd sizes": {
        "architecture": "llama",
        "tie_word_embeddings": False,
        "attention_bias": True,
        "mlp_bias": True,
        "hidden_size": 72,
        "intermediate_size": 150,
    },
}
Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the compiled kernels where they are, and everything else in a new cache."""
    kernel_directory(host_isa().name)
    monkeypatch.setenv("LITE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "original", gain=3.0)


def answer(model: Path, **settings: Any) -> tuple[list[int], list[str]]:
    """Return the token ids and logprobs of a few greedy tokens."""
    params = SamplingParams(temperature=0.0, max_tokens=8, logprobs=3, prompt_logprobs=1)
    options = {"max_model_len": 128, "num_kv_blocks": 16, "num_threads": 2} | settings
    with LLM(str(model), **options) as llm:
        (output,) = llm.generate("the cat reads a number", params, use_tqdm=False)
    entries = [*(output.prompt_logprobs or []), *(output.outputs[0].logprobs or [])]
    return output.outputs[0].token_ids, [repr(entry) for entry in entries]


def is_mapped(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


def quantize(source: Path, target: Path, *options: str) -> int:
    return main(["quantize", str(source), str(target), "--num-threads", "2", *options])


def refusal(capsys: pytest.CaptureFixture[str], source: Path, target: Path) -> str:
    assert quantize(source, target) == 2
    return capsys.readouterr().err


# --- the same numbers by every way -------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("quantization", FORMATS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_quantized_checkpoint_gives_the_bits_of_quantizing_while_loading(
    tmp_path: Path, name: str, quantization: str, dtype: str
) -> None:
    source = make_checkpoint(tmp_path / "original", gain=3.0, **MODELS[name])
    expected = answer(source, quantization=quantization, dtype=dtype)
    assert quantize(source, tmp_path / "packed", "--quantization", quantization) == 0
    assert answer(tmp_path / "packed", dtype=dtype) == expected


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("quantization", [None, *FORMATS])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_cached_weights_give_the_bits_of_packing(
    tmp_path: Path, cache: Path, name: str, quantization: str | None, dtype: str
) -> None:
    source = make_checkpoint(tmp_path / "original", gain=3.0, **MODELS[name])
    settings: dict[str, Any] = {"quantization": quantization, "dtype": dtype}
    expected = answer(source, **settings)
    assert not cache.exists()
    assert answer(source, weights_cache=True, **settings) == expected
    (made,) = cache.iterdir()
    before = made.stat()
    assert answer(source, weights_cache=True, **settings) == expected
    assert (made.stat().st_ino, made.stat().st_size) == (before.st_ino, before.st_size)


def test_formats_differ_in_their_numbers_and_their_size(checkpoint: Path, tmp_path: Path) -> None:
    logprobs = {q: tuple(answer(checkpoint, quantization=q)[1]) for q in (None, *FORMATS)}
    assert len(set(logprobs.values())) == 3
    sizes = {}
    for quantization in FORMATS:
        quantize(checkpoint, tmp_path / quantization, "--quantization", quantization)
        sizes[quantization] = packed_file(tmp_path / quantization).stat().st_size
    assert sizes["int4"] < sizes["int8"] < packed_file(checkpoint).stat().st_size


@pytest.mark.parametrize(
    "isa", [isa.name for isa in ISAS if supported(isa) and isa is not host_isa()]
)
def test_every_instruction_set_writes_the_same_file(
    checkpoint: Path, tmp_path: Path, isa: str
) -> None:
    for quantization in FORMATS:
        quantize(checkpoint, tmp_path / "here", "--quantization", quantization)
        subprocess.run(
            [sys.executable, "-m", "lite", "quantize", checkpoint, tmp_path / "there",
             "--quantization", quantization],
            cwd=ROOT, env=os.environ | {"LITE_CPU_ISA": isa}, check=True, capture_output=True,
        )  # fmt: skip
        here, there = (packed_file(tmp_path / name) for name in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
        for name in ("here", "there"):
            (tmp_path / name).rename(tmp_path / f"{name}-{quantization}")


def test_every_report_names_the_format(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--prompts", "the cat", "--max-tokens", "2", "--num-kv-blocks", "16")
    asked = ("--model", str(checkpoint), "--quantization", "q4_0")
    assert main(["complete", *asked, *small, "--log-level", "info", "--log-format", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[0] == "{"]
    assert any(line.get("part", "").endswith("MiB  (int4)") for line in lines)
    (loaded,) = (line for line in lines if line["event"] == "model_loaded")
    assert loaded["quantization"] == "int4"
    main(["doctor", *asked])
    assert "Qwen3ForCausalLM, supported, int4 weights\n" in capsys.readouterr().out
    quantize(checkpoint, tmp_path / "packed")
    main(["doctor", "--model", str(tmp_path / "packed")])
    assert "Qwen3ForCausalLM, supported, int8 weights (as stored)\n" in capsys.readouterr().out


def test_the_fingerprint_of_a_server_tells_formats_apart() -> None:
    settings: list[Any] = [{}, {"quantization": "int8"}, {"quantization": "int4"}]
    prints = {fingerprint(Config(model=ModelConfig(**given))) for given in settings}
    prints.add(fingerprint(Config(engine=EngineConfig(kv_cache_dtype="int8"))))
    assert len(prints) == 4
    assert fingerprint(Config(model=ModelConfig(weights_cache=True))) in prints


# --- lite quantize -----------------------------------------------------------------------------


def test_a_quantized_checkpoint_is_complete_and_maps_its_weights(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "LICENSE").write_text("terms")
    (checkpoint / "notes.bin").write_text("other weights")
    target = tmp_path / "packed"
    assert quantize(checkpoint, target) == 0
    assert "MB of int8 weights" in capsys.readouterr().err
    assert sorted(path.name for path in target.iterdir()) == [
        "LICENSE", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    config = json.loads((target / "config.json").read_text())
    assert config.pop("quantization_config") == {
        "quant_method": "lite", "format": "int8", "version": 1,
    }  # fmt: skip
    assert config == json.loads((checkpoint / "config.json").read_text())
    with LLM(str(target), max_model_len=64) as llm:
        assert is_mapped(packed_file(target))
        assert llm.get_tokenizer().encode("the cat")
    assert not is_mapped(packed_file(target))


def test_a_sharded_checkpoint_becomes_one_file(tmp_path: Path) -> None:
    for name, num_shards in (("one", 1), ("three", 3)):
        make_checkpoint(tmp_path / name, gain=3.0, num_shards=num_shards)
        assert quantize(tmp_path / name, tmp_path / f"{name}-packed") == 0
    files = [packed_file(tmp_path / f"{name}-packed") for name in ("one", "three")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert list(files[1].parent.glob("*.index.json")) == []


def test_an_existing_target_is_refused_and_left_alone(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    assert "mine: exists already; remove it" in refusal(capsys, checkpoint, tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []
    assert "nowhere: no such directory" in refusal(capsys, checkpoint, tmp_path / "nowhere" / "x")


def test_a_target_that_another_process_made_meanwhile_is_left_alone(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "new"

    class Usage:
        free = 10**12

    def other_process(_path: Path) -> type[Usage]:
        target.mkdir()
        (target / "theirs").touch()
        return Usage

    monkeypatch.setattr("lite.models.quantize.shutil.disk_usage", other_process)
    assert "new: exists already; remove it" in refusal(capsys, checkpoint, target)
    assert [path.name for path in target.iterdir()] == ["theirs"]


def test_no_format_is_no_format_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = str(tmp_path / "new")
    assert main(["quantize", "demo", target, "--quantization", "none"]) == 2
    assert "flag --quantization: none is no format" in capsys.readouterr().err
    monkeypatch.setenv("LITE_QUANTIZATION", "none")
    assert main(["quantize", "demo", target]) == 2
    assert "environment LITE_QUANTIZATION: none is no format" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_source_that_cannot_be_quantized_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new"
    quantize(checkpoint, tmp_path / "packed")
    again = refusal(capsys, tmp_path / "packed", target)
    assert "quantized to int8 already; name the original" in again
    assert "no such directory" in refusal(capsys, tmp_path / "missing", target)
    config = json.loads((checkpoint / "config.json").read_text())
    for change, message in (
        ({"architectures": ["BertModel"]}, "architecture 'BertModel' is not supported"),
        ({"quantization_config": {"quant_method": "awq"}}, r"method 'awq') is not supported"),
        ({"hidden_size": 32}, "has shape"),
    ):
        (checkpoint / "config.json").write_text(json.dumps(config | change))
        assert message in refusal(capsys, checkpoint, target)
    assert not target.exists()


def test_a_disk_without_room_is_refused_before_anything_is_written(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Usage:
        free = 1_000_000

    monkeypatch.setattr("lite.models.quantize.shutil.disk_usage", lambda _path: Usage)
    message = refusal(capsys, checkpoint, tmp_path / "new")
    assert "but the disk has 0.00 GB left; free some space" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original"]


def test_a_disk_that_fills_up_leaves_nothing_behind(checkpoint: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys; from lite.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
        "sys.exit(main(['quantize', *sys.argv[1:]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, checkpoint, tmp_path / "new"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "new: cannot be written: File too large" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "original"]


def test_an_interrupted_quantization_leaves_nothing_behind(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lite.models.quantize._copy_others", interrupt)
    assert quantize(checkpoint, tmp_path / "new") == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["original"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_quantization_that_is_told_to_end_leaves_nothing_behind(
    checkpoint: Path, tmp_path: Path, number: signal.Signals
) -> None:
    code = (
        "import os, sys; from lite.cli import main; from lite.models import quantize;"
        f"quantize._copy_others = lambda *_: os.kill(os.getpid(), {int(number)});"
        "sys.exit(main(['quantize', *sys.argv[1:]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, checkpoint, tmp_path / "new"], cwd=ROOT, check=False
    )
    assert done.returncode == 128 + number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "original"]


def test_what_killed_processes_left_is_removed_by_the_next(
    checkpoint: Path, tmp_path: Path, cache: Path
) -> None:
    for abandoned in (tmp_path / ".new.unfinished-12345678", cache / "unfinished-12345678"):
        abandoned.mkdir(parents=True)
        (abandoned / "model.safetensors").touch()
    assert quantize(checkpoint, tmp_path / "new") == 0
    answer(checkpoint, weights_cache=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "new", "original"]
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]


@pytest.mark.parametrize("name", ["~no-such-user/new", "x" * 240, "x" * 300])
def test_a_target_that_cannot_exist_is_refused(
    checkpoint: Path,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(capsys, checkpoint, Path(name))
    assert "no such directory" in message or "cannot be written: File name too long" in message


# --- what does not fit together ------------------------------------------------------------------


def test_another_format_than_the_stored_one_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    quantize(checkpoint, tmp_path / "packed")
    with pytest.raises(ConfigError, match=r"'int4', but .*packed is quantized to int8 already"):
        LLM(str(tmp_path / "packed"), quantization="q4_0")
    answer(tmp_path / "packed", quantization="q8_0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "format 'int8', version 2; supported are .* in version 1"),
        ({"format": "int3"}, "format 'int3', version 1; .* run `lite quantize` again"),
        ({"quant_method": "gptq"}, r"method 'gptq'\) is not supported"),
    ],
)
def test_quantizations_of_others_are_refused_by_name(
    checkpoint: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    quantize(checkpoint, tmp_path / "packed")
    file = tmp_path / "packed" / "config.json"
    config = json.loads(file.read_text())
    config["quantization_config"] |= change
    file.write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match=message):
        LLM(str(tmp_path / "packed"))


@pytest.mark.parametrize("of", ["int4", "a larger model", "plain weights"])
def test_a_packed_file_of_something_else_is_refused(
    checkpoint: Path, tmp_path: Path, of: str
) -> None:
    quantize(checkpoint, tmp_path / "packed")
    if of == "a larger model":
        checkpoint = make_checkpoint(tmp_path / "larger", hidden_size=96)
    if of != "plain weights":
        quantize(
            checkpoint, tmp_path / "other", "--quantization", "int4" if of == "int4" else "int8"
        )
        checkpoint = tmp_path / "other"
    packed_file(checkpoint).replace(packed_file(tmp_path / "packed"))
    with pytest.raises(CheckpointError, match=r"model.safetensors: tensor '.*' is "):
        LLM(str(tmp_path / "packed"))


def test_a_packed_file_that_lost_its_end_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    quantize(checkpoint, tmp_path / "packed")
    file = packed_file(tmp_path / "packed")
    os.truncate(file, file.stat().st_size - 4096)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated"):
        LLM(str(tmp_path / "packed"))


# --- the cache ---------------------------------------------------------------------------------


def test_a_changed_checkpoint_replaces_its_cached_weights(checkpoint: Path, cache: Path) -> None:
    first = answer(checkpoint, weights_cache=True)
    (old,) = cache.iterdir()
    make_checkpoint(checkpoint, gain=3.0, seed=1)
    assert answer(checkpoint, weights_cache=True) == answer(checkpoint) != first
    (new,) = cache.iterdir()
    assert new != old
    (checkpoint / "config.json").touch()
    answer(checkpoint, weights_cache=True)
    assert [path for path in cache.iterdir() if path == new] == []


def test_other_weights_of_the_same_size_and_time_are_not_taken_for_the_cached_ones(
    checkpoint: Path, tmp_path: Path, cache: Path
) -> None:
    first = answer(checkpoint, weights_cache=True)
    other = make_checkpoint(tmp_path / "other", gain=3.0, seed=1)
    before = packed_file(checkpoint).stat()
    os.utime(packed_file(other), ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.copy2(packed_file(other), packed_file(checkpoint))
    after = packed_file(checkpoint).stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert answer(checkpoint, weights_cache=True) == answer(other) != first
    assert len(list(cache.iterdir())) == 1


def test_made_up_weights_are_not_cached(checkpoint: Path, cache: Path) -> None:
    model = ModelConfig(model=str(checkpoint), load_format="dummy", weights_cache=True)
    with LLM.from_config(Config(model=model, engine=EngineConfig(num_kv_blocks=16))):
        pass
    assert not cache.exists()


def test_projections_of_different_dtypes_are_packed_together(checkpoint: Path) -> None:
    tensors = make_tensors(make_config(vocab_size=make_tokenizer(checkpoint)))
    answers = []
    for name in (None, "q_proj", "up_proj"):
        key = f"model.layers.0.{'self_attn' if name == 'q_proj' else 'mlp'}.{name}.weight"
        other = {key: from_bfloat16(tensors[key])} if name else {}
        write_safetensors(checkpoint / "model.safetensors", tensors | other)
        answers.append(answer(checkpoint))
    assert answers[1] == answers[2] == answers[0]


def test_formats_of_one_checkpoint_are_cached_side_by_side(checkpoint: Path, cache: Path) -> None:
    for settings in ({}, {"dtype": "float32"}, {"quantization": "int8"}, {"quantization": "int4"}):
        answer(checkpoint, weights_cache=True, **settings)
    assert len(list(cache.iterdir())) == 4


def test_weights_that_nothing_used_for_a_month_leave_the_cache(
    checkpoint: Path, tmp_path: Path, cache: Path
) -> None:
    answer(checkpoint, weights_cache=True)
    (unused,) = cache.iterdir()
    other = make_checkpoint(tmp_path / "other")
    os.utime(unused, (0, 0))
    answer(checkpoint, weights_cache=True)  # it is used after all
    answer(other, weights_cache=True)
    assert unused.exists()
    os.utime(unused, (0, 0))
    (other / "config.json").touch()
    answer(other, weights_cache=True)
    assert not unused.exists()


def test_a_damaged_cache_file_is_made_again(checkpoint: Path, cache: Path) -> None:
    expected = answer(checkpoint, weights_cache=True)
    (file,) = cache.iterdir()
    os.truncate(file, 5000)
    assert answer(checkpoint, weights_cache=True) == expected
    assert SafetensorsFile(file).entries


def change_a_byte(file: Path, tensor: str) -> None:
    entry = SafetensorsFile(file).entries[tensor]
    with open(file, "r+b") as opened:
        opened.seek((entry.start + entry.end) // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("tensor", ["head.panels", "layers.1.down.panels", "final_norm"])
def test_cached_weights_whose_content_changed_are_made_again(
    checkpoint: Path, cache: Path, tensor: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = answer(checkpoint, weights_cache=True)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    change_a_byte(file, tensor)
    with caplog.at_level("WARNING", logger="lite"):
        assert answer(checkpoint, weights_cache=True) == expected
    (line,) = caplog.messages
    assert line.startswith(f"the cached weights are made again: {file}: damaged")
    assert file.read_bytes() == content


def test_a_packed_file_whose_content_changed_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    quantize(checkpoint, tmp_path / "packed")
    change_a_byte(packed_file(tmp_path / "packed"), "layers.0.qkv.panels")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged: its content is not"):
        LLM(str(tmp_path / "packed"))


def test_processes_that_fill_the_cache_together_agree(checkpoint: Path, cache: Path) -> None:
    code = (
        "import sys; from lite import LLM, SamplingParams;"
        "llm = LLM(sys.argv[1], weights_cache=True, max_model_len=64, num_kv_blocks=8);"
        "params = SamplingParams(temperature=0.0, max_tokens=8);"
        "print(llm.generate('the cat', params, use_tqdm=False)[0].outputs[0].token_ids)"
    )
    kernels = str(Path(kernel_directory(host_isa().name)).parent)
    link = cache.parent / Path(kernel_directory(host_isa().name)).name
    cache.parent.mkdir()
    link.symlink_to(Path(kernels) / link.name)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, checkpoint],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert len({out for out, _ in outputs}) == 1
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_another_process_empties_only_costs_time(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answer(checkpoint)

    def fill(path: Path, *rest: Any) -> None:
        _fill(path, *rest)
        path.unlink()

    monkeypatch.setattr("lite.engine.weights_cache._fill", fill)
    assert answer(checkpoint, weights_cache=True) == expected


@pytest.mark.parametrize("obstacle", ["a file in the way", "a full disk"])
def test_a_cache_that_cannot_be_written_only_costs_time(
    checkpoint: Path,
    cache: Path,
    obstacle: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = answer(checkpoint)
    if obstacle == "a file in the way":
        cache.parent.mkdir()
        cache.write_text("")
    else:

        def fail(_fd: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("lite.formats.safetensors_writer.os.fsync", fail)
    with caplog.at_level("WARNING", logger="lite"):
        assert answer(checkpoint, weights_cache=True) == expected
    (line,) = caplog.messages
    assert line.startswith("the packed weights are not cached: [Errno ")
    assert obstacle == "a file in the way" or list(cache.iterdir()) == []


def test_a_tensor_at_an_odd_address_is_copied_before_kernels_read_it(
    checkpoint: Path, tmp_path: Path
) -> None:
    target = tmp_path / "packed"
    expected = answer(checkpoint, quantization="int8")
    quantize(checkpoint, target)
    data = packed_file(target).read_bytes()
    length = int.from_bytes(data[:8], "little")
    shifted = (
        (length + 4).to_bytes(8, "little") + data[8 : 8 + length] + b"    " + data[8 + length :]
    )
    packed_file(target).write_bytes(shifted)
    entries = SafetensorsFile(packed_file(target)).entries.values()
    assert np.gcd.reduce([entry.start for entry in entries]) == 4
    assert answer(target) == expected
