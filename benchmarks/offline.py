"""Decode and prefill speed of the engine in this process, beside the memory's streaming rate.

    python benchmarks/offline.py --config benchmarks/configs/qwen3-0.6b --threads 2

The read-bandwidth probe is interleaved with the runs; medians over --repeats.
"""

import argparse
import statistics
import time

import numpy as np

from benchmarks.report import write_result
from lite.config import Config, EngineConfig, ModelConfig
from lite.engine.core import EngineCore
from lite.engine.loading import load_model, num_parameters
from lite.messages import GenerateRequest, SamplingSpec
from lite_kernels.cpu.probe import read_bandwidth
from lite_kernels.cpu.topology import choose_threads

PROMPT_TOKENS = 128


def main() -> None:
    """Run the benchmark and print or write its figures."""
    args = _arguments()
    config = Config(
        model=ModelConfig(
            model=args.config, load_format="dummy", dtype=args.dtype, max_model_len=4096
        ),
        engine=EngineConfig(
            num_threads=args.threads,
            enable_prefix_caching=False,
            # All prompts of the widest run fit one step, so the decode clock starts after it.
            max_num_batched_tokens=max(args.widths) * PROMPT_TOKENS,
        ),
    )
    model = load_model(config)
    core = EngineCore(model, config)
    bytes_per_token = num_parameters(model.decoder) * (2 if args.dtype == "bfloat16" else 4)
    runs: dict[str, list[float]] = {}
    _decode_rate(core, 1, 8)  # compiles and touches everything once
    for _ in range(args.repeats):
        for width in args.widths:
            before = read_bandwidth(args.threads)
            rate = _decode_rate(core, width, args.tokens)
            # The memory of a shared machine changes its pace; so it is probed on both sides.
            bandwidth = (before + read_bandwidth(args.threads)) / 2
            runs.setdefault(f"decode_tok_s_{width}", []).append(rate)
            if width == 1:
                runs.setdefault("read_bandwidth_gb_s", []).append(bandwidth / 1e9)
                share = rate * bytes_per_token / bandwidth
                runs.setdefault("decode_1_share_of_bandwidth", []).append(share)
        runs.setdefault("prefill_tok_s_512", []).append(_prefill_rate(core, 512))
    figures = {name: statistics.median(values) for name, values in runs.items()}
    for width in args.widths:
        speedup = figures[f"decode_tok_s_{width}"] / figures["decode_tok_s_1"]
        figures[f"batch_{width}_speedup"] = speedup
    figures |= {"weight_bytes_per_token": bytes_per_token}
    for name, value in figures.items():
        print(f"{name:32} {value:12.3f}   {[round(v, 2) for v in runs.get(name, [])]}")
    settings = vars(args) | {"prompt_tokens": PROMPT_TOKENS}
    write_result("offline", {"settings": settings, "medians": figures, "runs": runs}, args.out)
    core.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="benchmarks/configs/qwen3-0.6b")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, default=choose_threads().number)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--out", help="file for the JSON result")
    return parser.parse_args()


def _add(core: EngineCore, request_id: str, num_prompt: int, num_output: int) -> None:
    rng = np.random.default_rng(len(request_id))
    prompt = rng.integers(core.model.decoder.vocab_size, size=num_prompt, dtype=np.int32)
    core.add(
        GenerateRequest(
            request_id=request_id,
            prompt_token_ids=prompt.tobytes(),
            sampling=SamplingSpec(temperature=0.0, max_tokens=num_output),
        ),
        "benchmark",
    )


def _decode_rate(core: EngineCore, width: int, num_tokens: int) -> float:
    """Return the tokens per second of `width` sequences after their prompts are computed."""
    for i in range(width):
        _add(core, f"decode{i}", PROMPT_TOKENS, num_tokens)
    num_started = len(core.step())
    assert num_started == width
    start_s = time.perf_counter()
    num_decoded = 0
    while core.has_work():
        num_decoded += len(core.step())
    assert num_started + num_decoded == width * num_tokens
    return num_decoded / (time.perf_counter() - start_s)


def _prefill_rate(core: EngineCore, num_prompt: int) -> float:
    """Return the prompt tokens per second of one prompt, its first token included."""
    _add(core, "prefill", num_prompt, 1)
    start_s = time.perf_counter()
    while core.has_work():
        core.step()
    return num_prompt / (time.perf_counter() - start_s)


if __name__ == "__main__":
    main()
