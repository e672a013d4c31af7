"""Write tests/parity/goldens from Hugging Face; the one script that imports torch.

Run from the project's root, in an environment of its own with torch 2.13.0, transformers and
safetensors: `python -m tools.make_goldens [case ...]`. Weights are not stored: they come again
from the seed, which is the first that gives greedy text without near ties.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from tests.checkpoints import checksum, make_checkpoint
from tests.parity.cases import CASES, NUM_STEPS, ROPE_CASES, ROPE_POSITIONS, Case

GOLDENS = Path(__file__).parent.parent / "tests" / "parity" / "goldens"
# Between the best two logits, relative to the largest: twenty times the tolerance of the test.
MIN_MARGIN = 2e-3
MIN_DISTINCT = 20
GAIN = 1.5
PROMPT_ROWS = (0, 7, -1)
STORED_STEPS = (*range(0, NUM_STEPS, 4), NUM_STEPS - 1)


def main() -> None:
    """Make the goldens of the cases named on the command line, or of all."""
    GOLDENS.mkdir(exist_ok=True)
    if not sys.argv[1:]:
        np.savez_compressed(GOLDENS / "rope.npz", **make_rope_tables())
    for name in sys.argv[1:] or CASES:
        golden = make_golden(CASES[name])
        np.savez_compressed(GOLDENS / f"{name}.npz", **golden)
        error = golden["bfloat16_max_error"]
        print(f"{name}: seed {golden['seed']}, Hugging Face's bfloat16 max error {error:.4f}")


def make_golden(case: Case) -> dict[str, np.ndarray]:
    """Return the arrays of one golden; tries seeds until greedy decoding is clear-cut."""
    for seed in range(300):
        with tempfile.TemporaryDirectory() as directory:
            path = make_checkpoint(
                directory, case.architecture, seed=seed, gain=GAIN, tokenizer=False, **case.config
            )
            config = json.loads((path / "config.json").read_text())
            prompt = np.random.RandomState(seed).randint(
                0, config["vocab_size"], case.num_prompt_tokens
            )
            prompt_logits, step_logits, token_ids = run(path, torch.float32, prompt)
            best = np.sort(step_logits, axis=1)
            margins = (best[:, -1] - best[:, -2]) / np.abs(step_logits).max()
            if margins.min() < MIN_MARGIN or len(set(token_ids.tolist())) < MIN_DISTINCT:
                continue
            weights_checksum = checksum(path)
            half = run(path, torch.bfloat16, prompt, forced=token_ids)
        steps = list(STORED_STEPS)
        rows = np.arange(case.num_prompt_tokens)[list(PROMPT_ROWS)]
        # Over every position, not only the stored ones: what bfloat16 costs in this case.
        half_errors = np.abs(
            np.concatenate(half[:2]) - np.concatenate([prompt_logits, step_logits])
        )
        return {
            "config": np.array(json.dumps(config)),
            "seed": np.array(seed),
            "gain": np.array(GAIN),
            "checksum": np.array(weights_checksum, np.uint32),
            "prompt": prompt.astype(np.int32),
            "token_ids": token_ids.astype(np.int32),
            "prompt_rows": rows.astype(np.int32),
            "steps": np.array(steps, np.int32),
            "logits": np.concatenate([prompt_logits[rows], step_logits[steps]]),
            "bfloat16_max_error": half_errors.max(),
            "bfloat16_mean_error": half_errors.mean(),
            "versions": np.array(
                f"torch {torch.__version__} transformers {transformers.__version__}"
            ),
        }
    raise SystemExit("no seed gives clear-cut greedy decoding; change the gain")


def make_rope_tables() -> dict[str, np.ndarray]:
    """Return cosines, then sines, of each rope case: float32 [positions, head_dim]."""
    tables = {}
    for name, case in ROPE_CASES.items():
        config = transformers.LlamaConfig(
            hidden_size=case.head_dim,
            num_attention_heads=1,
            max_position_embeddings=case.max_position_embeddings,
            rope_theta=case.theta,
            rope_scaling=dict(case.scaling),
        )
        rope = LlamaRotaryEmbedding(config)
        if case.length is not None:  # as one forward pass of that many tokens would leave it
            rope(torch.zeros(1), torch.tensor([[case.length - 1]]))
            rope.max_seq_len_cached = 2**62
            rope.original_max_seq_len = 0
        cos, sin = rope(torch.zeros(1), torch.tensor([ROPE_POSITIONS]))
        half = case.head_dim // 2
        tables[name] = torch.cat([cos[0, :, :half], sin[0, :, :half]], dim=1).numpy()
    return tables


def run(
    path: Path, dtype: torch.dtype, prompt: np.ndarray, forced: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prefill, then decode token by token with a cache, as `generate` does.

    Returns float32 logits of the prompt and of each step, and the ids: greedy, or `forced`.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, attn_implementation="eager"
    ).eval()
    token_ids, step_logits = [], []
    with torch.no_grad():
        output = model(torch.tensor(prompt)[None], use_cache=True)
        prompt_logits = output.logits[0].float().numpy()
        for step in range(NUM_STEPS):
            logits = output.logits[0, -1].float().numpy()
            step_logits.append(logits)
            token_ids.append(int(logits.argmax() if forced is None else forced[step]))
            output = model(
                torch.tensor([[token_ids[-1]]]),
                past_key_values=output.past_key_values,
                use_cache=True,
            )
    return prompt_logits, np.stack(step_logits), np.array(token_ids)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main()
