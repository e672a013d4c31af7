"""`lite complete`: a batch of prompts, their completions, and two lines of speed."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lite.cli import flags, sampling
from lite.cli.loading import COMMAND_DEFAULTS, open_llm
from lite.errors import ConfigError

if TYPE_CHECKING:
    from lite.outputs import RequestOutput

_MAX_TOKENS = 256


def add_command(commands: flags.Commands) -> None:
    """Add the command to the parser."""
    parser = flags.add_command(
        commands,
        "complete",
        "Complete prompts as one batch.",
        flags.ENGINE_SECTIONS,
        defaults=COMMAND_DEFAULTS,
    )
    parser.add_argument("--prompts", metavar="'A | B'", help="prompts separated by |")
    parser.add_argument("--file", metavar="FILE", help="one prompt a line; - is standard input")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="repeat each N times")
    parser.add_argument(
        "--chat", action="store_true", help="send each prompt as a chat message of a user"
    )
    sampling.add_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the batch; completions go to standard output, the report to standard error."""
    prompts = _prompts(arguments)
    with open_llm(flags.load(arguments)) as llm:
        # A short context keeps room for the prompts.
        max_tokens = min(_MAX_TOKENS, max(1, llm.max_model_len // 2))
        params = sampling.sampling_params(llm, arguments, max_tokens=max_tokens)
        progress = sys.stderr.isatty()
        start = time.monotonic()
        if arguments.chat:
            messages = [[{"role": "user", "content": prompt}] for prompt in prompts]
            outputs = llm.chat(messages, params, use_tqdm=progress)
        else:
            outputs = llm.generate(prompts, params, use_tqdm=progress)
        elapsed_s = time.monotonic() - start
    for number, (prompt, output) in enumerate(zip(prompts, outputs, strict=True), 1):
        if len(prompts) > 1:
            print(f"--- {number}/{len(prompts)}: {prompt}")
        print(output.outputs[0].text)
    print(*report(outputs, elapsed_s), sep="\n", file=sys.stderr)
    return 0


def _prompts(arguments: argparse.Namespace) -> list[str]:
    if arguments.batch < 1:
        raise ConfigError(f"--batch is {arguments.batch}, but must be an integer >= 1.")
    prompts: list[str] = []
    if arguments.prompts is not None:
        prompts += [part.strip() for part in arguments.prompts.split("|")]
    if arguments.file is not None or (arguments.prompts is None and not sys.stdin.isatty()):
        prompts += _lines(arguments.file or "-")
    prompts = [prompt for prompt in prompts if prompt.strip()]
    if not prompts:
        raise ConfigError("There is no prompt; give --prompts 'a | b' or --file FILE.")
    return prompts * int(arguments.batch)


def _lines(name: str) -> list[str]:
    if name == "-":
        return sys.stdin.read().splitlines()
    try:
        return Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--file: {name} cannot be read as UTF-8 text: {error}.") from None


def report(outputs: Sequence["RequestOutput"], elapsed_s: float) -> tuple[str, str]:
    """Return vllm.rs' two lines: prompt tokens and decoded tokens, seconds and tokens/s.

    Prompts count until the last of them was read; decoding from when the first one was,
    without the tokens that came with the prompts. The two overlap where the batch did not fit
    into one step.
    """
    read_s = [t.queue_s + t.prefill_s for t in (one.timings for one in outputs) if t is not None]
    prompt_s = max(read_s, default=0.0)
    decode_s = elapsed_s - min(read_s, default=0.0)
    num_prompt_tokens = sum(len(one.prompt_token_ids) for one in outputs)
    num_output_tokens = [len(part.token_ids) for one in outputs for part in one.outputs]
    # The first of each comes with its prompt.
    num_decoded = sum(max(num - 1, 0) for num in num_output_tokens)
    return (
        _speed("Prompt", num_prompt_tokens, num_prompt_tokens, prompt_s),
        _speed("Decoded", sum(num_output_tokens), num_decoded, decode_s),
    )


def _speed(name: str, num_tokens: int, num_timed: int, seconds: float) -> str:
    rate = num_timed / max(seconds, 1e-3)
    return f"{name} tokens: {num_tokens} in {seconds:.2f}s ({rate:.2f} tokens/s)"
